"""Layout of tensors in memory: flattened with a contiguous last axis, and as a shape rule says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

Results = TypeVar("Results")  # a tensor, or several


def rows(x: Tensor) -> Tensor:
    """Flatten `(..., N)` to a matrix whose rows are contiguous."""
    return (x if x.stride(-1) == 1 else x.contiguous()).reshape(-1, x.shape[-1])


def planes(x: Tensor) -> tuple[Tensor, int, int]:
    """Flatten `(..., F, N)` to `(B, F, N)` with a contiguous last axis; return strides of items and bins."""
    x = (x if x.stride(-1) == 1 else x.contiguous()).reshape(-1, *x.shape[-2:])
    return x, x.stride(0), x.stride(1)


def laid_out(results: Results, empty: Callable[[], Results]) -> Results:
    """Return results in the layout of an operator's shape rule; those that are contiguous are right.

    Plain torch keeps the order of its input, such as that of `stft().abs()`, which has frames outermost. A
    compiled graph relies on the strides that the shape rule gives.

    Args:
        results: a tensor, or several in lists and tuples.
        empty: returns empty tensors like them, laid out as they should be.
    """
    if all(result.is_contiguous() for result in tree_leaves(results)):
        return results
    return tree_map(_in_strides, results, empty())


def _in_strides(result: Tensor, wanted: Tensor) -> Tensor:
    return result if result.stride() == wanted.stride() else wanted.copy_(result)
