"""The loudest bins of each spectrogram, and what masks say there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchprim.kernels.dispatch import takes_kernel
from torchprim.kernels.layout import empty_like


def reference(magnitude: Tensor, count: int) -> Tensor:
    """Indices `(..., count)` into `magnitude.flatten(-2)`, loudest first."""
    return magnitude.flatten(-2).topk(count, dim=-1).indices


def reference_values(masks: Sequence[Tensor], index: Tensor) -> Tensor:
    """Each mask at the bins of `index` `(..., P)`: `(..., P, D)`."""
    return torch.stack([mask.flatten(-2).gather(-1, index) for mask in masks], dim=-1)


def reference_gradients(gradient: Tensor, masks: Sequence[Tensor], index: Tensor) -> list[Tensor]:
    """Each mask's gradient: that of its values at their bins, 0 elsewhere."""
    results = []
    for mask, values in zip(masks, gradient.unbind(-1), strict=True):
        flat = torch.zeros(mask.shape, dtype=mask.dtype, device=mask.device).flatten(-2)
        results.append(empty_like(mask).copy_(flat.scatter_(-1, index, values).view(mask.shape)))
    return results


@torch.library.custom_op("torchprim::loudest", mutates_args=())
def _loudest(magnitude: Tensor, count: int) -> Tensor:
    if takes_kernel(magnitude):
        from torchprim.kernels.clustering import loudest_triton

        return loudest_triton.forward(magnitude, count)
    return reference(magnitude, count)


@_loudest.register_fake
def _(magnitude, count):
    return magnitude.new_empty((*magnitude.shape[:-2], count), dtype=torch.int64)


@torch.library.custom_op("torchprim::values_at", mutates_args=())
def _values_at(masks: Sequence[Tensor], index: Tensor) -> Tensor:
    if takes_kernel(*masks, index):
        from torchprim.kernels.clustering import loudest_triton

        return loudest_triton.values(masks, index)
    return reference_values(masks, index)


@_values_at.register_fake
def _(masks, index):
    return masks[0].new_empty((*index.shape, len(masks)))


@torch.library.custom_op("torchprim::values_at_backward", mutates_args=())
def _values_at_backward(gradient: Tensor, masks: Sequence[Tensor], index: Tensor) -> list[Tensor]:
    if takes_kernel(gradient, *masks, index):
        from torchprim.kernels.clustering import loudest_triton

        return loudest_triton.gradients(gradient, masks, index)
    return reference_gradients(gradient, masks, index)


@_values_at_backward.register_fake
def _(gradient, masks, index):
    return [empty_like(mask) for mask in masks]


def _remember(ctx, inputs, output):
    masks, index = inputs
    ctx.save_for_backward(*masks, index)


def _gradients(ctx, gradient):
    *masks, index = ctx.saved_tensors
    return _values_at_backward(gradient, masks, index), None


_values_at.register_autograd(_gradients, setup_context=_remember)


def loudest_bins(magnitude: Tensor, count: int) -> Tensor:
    """Indices of the loudest bins of each spectrogram, exactly `count` of them.

    Args:
        magnitude: `(..., F, N)`.
        count: P, at most F N.

    Returns:
        `(..., P)`, int64, into the bins in a row (`f N + n`), none twice. On a CPU the loudest come first; on
        a GPU the order is another, and always the same, since sorting would cost more than finding.
        There is no gradient.

    Raises:
        ValueError: for a count out of range.

    Example:
        >>> import torch
        >>> from torchprim.kernels.clustering.loudest import loudest_bins
        >>> loudest_bins(torch.tensor([[1.0, 5.0], [2.0, 4.0]]), 2).tolist()
        [1, 3]
    """
    bins = magnitude.shape[-2] * magnitude.shape[-1]
    if not 1 <= count <= bins:
        raise ValueError(f"count must lie in [1, {bins}], got {count}")
    return _loudest(magnitude.detach(), count)


def values_at(masks: Sequence[Tensor], index: Tensor) -> Tensor:
    """What D masks say at some bins of each spectrogram.

    Args:
        masks: D tensors `(..., F, N)` of one shape and type, of any order in memory.
        index: `(..., P)`, int64, into the bins in a row; in an item no bin is named twice.

    Returns:
        `(..., P, D)`. Gradients flow to the masks.

    Example:
        >>> import torch
        >>> from torchprim.kernels.clustering.loudest import values_at
        >>> values_at([torch.tensor([[1.0, 5.0], [2.0, 4.0]])], torch.tensor([3, 0])).tolist()
        [[4.0], [1.0]]
    """
    return _values_at(list(masks), index)
