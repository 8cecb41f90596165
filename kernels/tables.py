"""Tables of constants that are made once: `@constant_table` over the function that makes one."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor


def constant_table(make: Callable[..., list[Tensor]]) -> Callable[..., list[Tensor]]:
    """Keep the tensors that a function of numbers, types and devices makes: its last 32 results.

    Under `torch.compile` the function is an operator, which copies what is kept. Traced like other code,
    a table would be made again at every call of the compiled graph, on a GPU with a wait for the host,
    and tracing the loops that make one takes half a minute.

    Args:
        make: returns a list of new tensors; all of its arguments have annotations that
            `torch.library.infer_schema` knows.

    Example:
        >>> import torch
        >>> from torch import Tensor
        >>> from torchprim.kernels.tables import constant_table
        >>> @constant_table
        ... def ramp(count: int) -> list[Tensor]:
        ...     return [torch.arange(count) / count]
        >>> ramp(4)[0] is ramp(4)[0]
        True
    """
    # What is kept must serve with gradients, too, though it be made in inference mode.
    kept = functools.lru_cache(maxsize=32)(torch.inference_mode(False)(make))

    def copied(*arguments) -> list[Tensor]:
        hashable = (tuple(a) if isinstance(a, list) else a for a in arguments)
        return [x.clone() for x in kept(*hashable)]

    name = f"torchprim::{make.__module__.rpartition('.')[2]}_{make.__name__.strip('_')}"
    schema = torch.library.infer_schema(make, mutates_args=())
    operator = torch.library.custom_op(name, copied, mutates_args=(), schema=schema)
    operator.register_fake(make)

    @functools.wraps(make)
    def look_up(*arguments):
        return operator(*arguments) if torch.compiler.is_compiling() else kept(*arguments)

    return look_up
