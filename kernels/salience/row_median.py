"""Median of whole rows, whose gradient is the same on every device."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.dispatch import takes_kernel


def reference(x: Tensor) -> Tensor:
    """The sample of rank (N - 1) // 2."""
    return x.median(-1).values


def reference_gradient(gradient: Tensor, x: Tensor, median: Tensor) -> Tensor:
    """All of the gradient to the first sample that equals the median."""
    index = torch.arange(x.shape[-1], device=x.device)
    first = torch.where(x == median[..., None], index, x.shape[-1]).amin(-1, keepdim=True)
    return torch.where(index == first, gradient[..., None], 0.0)


@torch.library.custom_op("torchprim::row_median", mutates_args=())
def _median(x: Tensor) -> Tensor:
    if takes_kernel(x):
        from torchprim.kernels.salience import row_median_triton

        return row_median_triton.forward(x)
    return reference(x)


@_median.register_fake
def _(x):
    return x.new_empty(x.shape[:-1])


@torch.library.custom_op("torchprim::row_median_backward", mutates_args=())
def _median_backward(gradient: Tensor, x: Tensor, median: Tensor) -> Tensor:
    if takes_kernel(gradient, x, median):
        from torchprim.kernels.salience import row_median_triton

        return row_median_triton.backward(gradient, x, median)
    return reference_gradient(gradient, x, median)


@_median_backward.register_fake
def _(gradient, x, median):
    return x.new_empty(x.shape)


def _remember(ctx, inputs, output):
    ctx.save_for_backward(*inputs, output)


def _gradient(ctx, gradient):
    return _median_backward(gradient, *ctx.saved_tensors)


_median.register_autograd(_gradient, setup_context=_remember)


def row_median(x: Tensor) -> Tensor:
    """Median over the last dimension, of an even number of samples the lower of the two middle ones.

    As `torch.median`, NaN where a row holds one; but the gradient goes to the selected sample, of equal
    ones to that of the lowest index, on every device.

    Args:
        x: `(..., N)`, real, N at least 1.

    Returns:
        `(...)`.

    Raises:
        ValueError: for a tensor that is not real or has no samples to choose from.

    Example:
        >>> import torch
        >>> from torchprim.kernels.salience.row_median import row_median
        >>> row_median(torch.tensor([[9.0, 1.0, 5.0, 2.0]]))
        tensor([2.])
    """
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() == 0 or x.shape[-1] == 0:
        raise ValueError(f"x must be a real tensor with samples in its last dimension, got {x!r}")
    return _median(x)
