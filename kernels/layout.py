"""Memory layouts: bins or frames innermost, and outputs with the layout of their inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def spacing(x: Tensor) -> int:
    """Return the innermost stride of a tensor that is contiguous but for it; 0 where `x` is not."""
    step = expected = 0
    for size, stride in zip(reversed(x.shape), reversed(x.stride()), strict=True):
        if size != 1:
            step = step or stride
            expected = expected or stride
            if stride != expected or stride == 0:
                return 0
            expected *= size
    return step or 1


def by_frames(x: Tensor) -> bool:
    """Return whether `(..., F, N)` has bins innermost, as the spectrograms of a transform have."""
    return x.dim() > 1 and not spacing(x) and bool(spacing(x.mT))


def in_one_layout(masks: Sequence[Tensor]) -> tuple[bool, int, tuple[Tensor, ...]]:
    """Return whether the masks have bins innermost, their innermost stride, and the masks.

    Those with bins innermost are transposed. The layout is that of the first mask; others are copied.
    """
    transposed = by_frames(masks[0])
    masks = [mask.mT if transposed else mask for mask in masks]
    step = spacing(masks[0])
    if not step or any(spacing(mask) != step for mask in masks):
        step, masks = 1, [mask.contiguous() for mask in masks]
    return transposed, step, tuple(masks)


def empty_like(x: Tensor) -> Tensor:
    """Allocate a dense mask in the layout of `x`, bins or frames innermost."""
    return x.new_empty(x.mT.shape).mT if by_frames(x) else x.new_empty(x.shape)


def empty_spectrum_like(spectrum: Tensor) -> Tensor:
    """Allocate dense real and imaginary parts `(..., F, N, 2)` in the layout of a spectrum."""
    if by_frames(spectrum[..., 0]):
        return spectrum.new_empty(spectrum.transpose(-2, -3).shape).transpose(-2, -3)
    return spectrum.new_empty(spectrum.shape)


def laid_out(result: Tensor, like: Tensor) -> Tensor:
    """Return a result with the strides of `like`, which a fake has promised."""
    return result if result.stride() == like.stride() else like.copy_(result)


def rows(x: Tensor) -> Tensor:
    """Flatten `(..., N)` to a matrix whose rows are contiguous."""
    return (x if x.stride(-1) == 1 else x.contiguous()).reshape(-1, x.shape[-1])


def planes(x: Tensor) -> tuple[Tensor, int, int]:
    """Flatten `(..., F, N)` to `(B, F, N)` with a contiguous last axis; return strides of items and bins."""
    x = (x if x.stride(-1) == 1 else x.contiguous()).reshape(-1, *x.shape[-2:])
    return x, x.stride(0), x.stride(1)


def frames_first(points: Tensor) -> bool:
    """Return whether `(B, F, N, D)` lies in memory as `(B, N, F, D)`, as a recurrent network makes it."""
    return not points.is_contiguous() and points.transpose(1, 2).is_contiguous()


def empty_gradient(points: Tensor) -> Tensor:
    """Allocate a gradient: frames first where the points are, else contiguous."""
    if frames_first(points):
        return torch.empty_like(points.transpose(1, 2)).transpose(1, 2)
    return torch.empty_like(points, memory_format=torch.contiguous_format)
