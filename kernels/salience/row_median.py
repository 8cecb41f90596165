"""Median of whole rows, with the same gradient on all devices."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.register import register_gradient, register_operator


def reference(x: Tensor) -> Tensor:
    """Select the sample of rank (N - 1) // 2."""
    return x.median(-1).values


def reference_gradient(gradient: Tensor, x: Tensor, median: Tensor) -> Tensor:
    """Route the gradient to the first sample that equals the median."""
    index = torch.arange(x.shape[-1], device=x.device)
    first = torch.where(x == median[..., None], index, x.shape[-1]).amin(-1, keepdim=True)
    return torch.where(index == first, gradient[..., None], 0.0)


_median = register_operator(
    "row_median", reference, kernel="row_median_triton.forward", fake=lambda x: x.new_empty(x.shape[:-1])
)
_median_backward = register_operator(
    "row_median_backward",
    reference_gradient,
    kernel="row_median_triton.backward",
    fake=lambda x: x.new_empty(x.shape),
)
register_gradient(_median, _median_backward, to=("x",), outputs=("median",))


def row_median(x: Tensor) -> Tensor:
    """Compute the median over the last dimension, of an even number of samples the lower middle one.

    As `torch.median`, NaN where a row holds one; but the gradient goes to the selected sample, of equal
    ones to that of the lowest index, on all devices.

    Args:
        x: `(..., N)`, real, N at least 1.

    Returns:
        `(...)`.

    Raises:
        ValueError: for a tensor that is not real or has no samples.

    Example:
        >>> import torch
        >>> from torchprim.kernels.salience.row_median import row_median
        >>> row_median(torch.tensor([[9.0, 1.0, 5.0, 2.0]]))
        tensor([2.])
    """
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() == 0 or x.shape[-1] == 0:
        raise ValueError(f"x must be a real tensor with samples in its last dimension, got {x!r}")
    return _median(x)
