"""Cache of constant tensors, also under torch.compile."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor


def is_exporting() -> bool:
    """Return whether a graph is made for other runtimes, which do not have the operators."""
    # Dynamo takes `is_exporting` for true whatever it traces.
    return torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()


def constant_table(make: Callable[..., list[Tensor]]) -> Callable[..., list[Tensor]]:
    """Cache the constant tensors returned by `make` (LRU, 32), also under `torch.compile`.

    In a compiled graph the function is an operator, which copies the cached tensors. Traced, a table would
    be computed again at each call of the graph, on a GPU with a synchronisation, and tracing its loops
    takes half a minute. In an exported graph, which leaves the house without the operators, it is traced.

    Args:
        make: function of numbers, dtypes and devices that returns a list of new tensors; all arguments have
            annotations that `torch.library.infer_schema` knows.

    Returns:
        The cached function. Its tensors are shared and must not be written to.

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
    # Cached tensors must work with gradients, too, although they may be computed in inference mode.
    cached = functools.lru_cache(maxsize=32)(torch.inference_mode(False)(make))

    def copied(*arguments) -> list[Tensor]:
        hashable = (tuple(a) if isinstance(a, list) else a for a in arguments)
        return [x.clone() for x in cached(*hashable)]

    name = f"torchprim::{make.__module__.rpartition('.')[2]}_{make.__name__.strip('_')}"
    schema = torch.library.infer_schema(make, mutates_args=())
    operator = torch.library.custom_op(name, copied, mutates_args=(), schema=schema)
    operator.register_fake(make)

    @functools.wraps(make)
    def look_up(*arguments):
        if is_exporting():
            return make(*arguments)
        return operator(*arguments) if torch.compiler.is_compiling() else cached(*arguments)

    return look_up
