"""The loudest bins of each spectrogram, and the values of masks there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchprim.kernels.register import register_gradient, register_operator
from torchprim.kernels.spectra.magnitude import CHUNK


def reference(magnitude: Tensor, count: int, maxima: Tensor | None) -> Tensor:
    """Return indices `(..., count)` into `magnitude.flatten(-2)`, loudest first; maxima are not needed."""
    return magnitude.flatten(-2).topk(count, dim=-1).indices


def value_dtype(masks: Sequence[Tensor]) -> torch.dtype:
    """Return the dtype of the values of masks: half precision is for their storage."""
    return torch.promote_types(masks[0].dtype, torch.float32)


def reference_values(masks: Sequence[Tensor], index: Tensor) -> Tensor:
    """Gather each mask at the bins of `index` `(..., P)`: `(..., P, D)`, in memory `(D, ..., P)`."""
    values = torch.stack([mask.flatten(-2).gather(-1, index) for mask in masks])
    return values.to(value_dtype(masks)).movedim(0, -1)


def reference_gradients(gradient: Tensor, masks: Sequence[Tensor], index: Tensor) -> list[Tensor]:
    """Scatter the gradients of a mask's values to their bins, 0 elsewhere, for each mask."""
    results = [mask.new_zeros(mask.shape) for mask in masks]
    for result, values in zip(results, gradient.unbind(-1), strict=True):
        result.flatten(-2).scatter_(-1, index, values.to(result.dtype))
    return results


_loudest = register_operator(
    "loudest",
    reference,
    kernel="loudest_triton.forward",
    fake=lambda magnitude, count: magnitude.new_empty((*magnitude.shape[:-2], count), dtype=torch.int64),
)
_values_at = register_operator(
    "values_at",
    reference_values,
    kernel="loudest_triton.values",
    fake=lambda masks, index: (
        masks[0].new_empty((len(masks), *index.shape), dtype=value_dtype(masks)).movedim(0, -1)
    ),
)
_values_at_backward = register_operator(
    "values_at_backward",
    reference_gradients,
    kernel="loudest_triton.gradients",
    fake=lambda masks: [mask.new_empty(mask.shape) for mask in masks],
)
register_gradient(_values_at, _values_at_backward, to=("masks",))


def loudest_bins(magnitude: Tensor, count: int, maxima: Tensor | None = None) -> Tensor:
    """Find the loudest bins of each spectrogram, exactly `count` of them.

    Args:
        magnitude: `(..., F, N)`; on a GPU a contiguous one is not copied.
        count: P, at most F N.
        maxima: of every 8 frames, `(..., F, (N + 7) // 8)`, from `magnitude_and_maxima`, which save a GPU a
            pass over the magnitude; computed by default.

    Returns:
        `(..., P)`, int64, flat indices `f N + n` without repetition. On a CPU sorted, loudest first; on a GPU
        in another order, the same every time, since sorting would cost more than the search. No gradient.

    Raises:
        ValueError: for a count out of range, or maxima of another shape.

    Example:
        >>> import torch
        >>> from torchprim.kernels.clustering.loudest import loudest_bins
        >>> loudest_bins(torch.tensor([[1.0, 5.0], [2.0, 4.0]]), 2).tolist()
        [1, 3]
    """
    bins = magnitude.shape[-2] * magnitude.shape[-1]
    if not 1 <= count <= bins:
        raise ValueError(f"count must lie in [1, {bins}], got {count}")
    if maxima is not None:
        shape = (*magnitude.shape[:-1], (magnitude.shape[-1] + CHUNK - 1) // CHUNK)
        if maxima.shape != shape:
            raise ValueError(f"maxima must have shape {shape}, got {tuple(maxima.shape)}")
    return _loudest(magnitude.detach(), count, maxima)


def values_at(masks: Sequence[Tensor], index: Tensor) -> Tensor:
    """Gather the values of D masks at some bins of each spectrogram.

    Args:
        masks: D tensors `(..., F, N)` of one shape and dtype; on a GPU contiguous ones are not copied.
        index: `(..., P)`, int64, flat indices of bins, without repetition in an item.

    Returns:
        `(..., P, D)`, float32 or float64, D contiguous tensors `(..., P)` in memory. Gradients flow to the
        masks.

    Example:
        >>> import torch
        >>> from torchprim.kernels.clustering.loudest import values_at
        >>> values_at([torch.tensor([[1.0, 5.0], [2.0, 4.0]])], torch.tensor([3, 0])).tolist()
        [[4.0], [1.0]]
    """
    return _values_at(list(masks), index)
