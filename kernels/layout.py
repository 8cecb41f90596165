"""Tensors flattened to rows, or to planes `(F, N)`, with a contiguous last axis."""

from __future__ import annotations

from torch import Tensor


def rows(x: Tensor) -> Tensor:
    """Flatten `(..., N)` to a matrix whose rows are contiguous."""
    return (x if x.stride(-1) == 1 else x.contiguous()).reshape(-1, x.shape[-1])


def planes(x: Tensor) -> tuple[Tensor, int, int]:
    """Flatten `(..., F, N)` to `(B, F, N)` with a contiguous last axis; return strides of items and bins."""
    x = (x if x.stride(-1) == 1 else x.contiguous()).reshape(-1, *x.shape[-2:])
    return x, x.stride(0), x.stride(1)
