"""A factor of each item's magnitude, which kernels multiply in: nothing is scaled in memory."""

from __future__ import annotations

from torch import Tensor


def bin_factors(row: Tensor, scale: Tensor) -> Tensor:
    """Multiply a factor of each bin `(F,)` by one of each item `(...)`: `(..., F, 1)`."""
    return row[:, None] * scale[..., None, None]


def scale_gradient(d_magnitude: Tensor, magnitude: Tensor, scale: Tensor, needed: bool) -> Tensor:
    """Compute the gradient to the items' factors from that to the magnitude; empty if not needed."""
    return (d_magnitude * magnitude).sum((-2, -1)) / scale if needed else scale.new_empty(0)
