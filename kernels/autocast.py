"""Arithmetic in float32 under `torch.autocast`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
Result = TypeVar("Result")


def outside_autocast(function: Callable[P, Result]) -> Callable[P, Result]:
    """Run a function outside `torch.autocast`: its products are in the dtype of its tensors.

    Masks are ratios of small differences and paths take the larger of two numbers: in bfloat16, three digits,
    others would come out. The operators run so, and what multiplies matrices between them.

    Args:
        function: the first tensor, or list of tensors, among its arguments says the device.

    Example:
        >>> import torch
        >>> from torchprim.kernels.autocast import outside_autocast
        >>> product = outside_autocast(torch.matmul)
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     product(torch.ones(2, 2), torch.ones(2, 2)).dtype
        torch.float32
    """

    @functools.wraps(function)
    def run(*arguments: P.args, **named: P.kwargs) -> Result:
        for argument in (*arguments, *named.values()):
            first = argument[0] if isinstance(argument, (list, tuple)) and argument else argument
            if isinstance(first, Tensor):
                device = first.device.type
                if device != "meta" and torch.is_autocast_enabled(device):
                    with torch.autocast(device, enabled=False):
                        return function(*arguments, **named)
                break
        return function(*arguments, **named)

    return run
