"""Dispatch of an operator: its Triton kernel, or the plain torch reference beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

# Dtypes that kernels load; all of them compute in float32.
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_forced = False
_refused = False


def takes_kernel(arguments: Sequence) -> bool:
    """Return whether a kernel computes with these arguments: tensors on a GPU, none of them float64.

    Double precision is there to check gradients with, and takes the reference everywhere.

    Args:
        arguments: of an operator: tensors, lists of tensors, and others, which do not matter.
    """
    if _refused:
        return False
    for argument in arguments:
        for x in argument if isinstance(argument, (list, tuple)) else (argument,):
            if isinstance(x, Tensor):
                if not (_forced or x.is_cuda):
                    return False
                if x.is_floating_point() and x.dtype not in _DTYPES:
                    return False
    return True


@contextmanager
def forced_kernels() -> Iterator[None]:
    """Take kernels for tensors on the CPU too, in Triton's interpreter, to test them without a GPU.

    Raises:
        RuntimeError: unless TRITON_INTERPRET=1 was set before the first kernel was imported.
    """
    global _forced
    if os.environ.get("TRITON_INTERPRET") != "1" and not torch.cuda.is_available():
        raise RuntimeError("kernels run on a CPU only under TRITON_INTERPRET=1")
    before, _forced = _forced, True
    try:
        yield
    finally:
        _forced = before


@contextmanager
def plain_torch() -> Iterator[None]:
    """Take references for tensors on a GPU too, to compare kernels with."""
    global _refused
    before, _refused = _refused, True
    try:
        yield
    finally:
        _refused = before
