"""Memory layouts of spectrograms: bins or frames innermost, and outputs that match their inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def spacing(x: Tensor) -> int:
    """Distance of neighbours in memory where `x` lies like a contiguous tensor but for that; else 0."""
    found = wanted = 0
    for size, stride in zip(reversed(x.shape), reversed(x.stride()), strict=True):
        if size != 1:
            found = found or stride
            wanted = wanted or stride
            if stride != wanted or stride == 0:
                return 0
            wanted *= size
    return found or 1


def by_frames(x: Tensor) -> bool:
    """Whether a frame's bins are neighbours in memory: the transform leaves spectrograms like that."""
    return x.dim() > 1 and not spacing(x) and bool(spacing(x.mT))


def in_one_order(masks: Sequence[Tensor]) -> tuple[bool, int, tuple[Tensor, ...]]:
    """Whether the masks lie by frames (they are then turned), the distance of neighbours, and the masks.

    The first mask decides; what lies otherwise is copied.
    """
    turn = by_frames(masks[0])
    turned = [mask.mT if turn else mask for mask in masks]
    step = spacing(turned[0])
    if not step or any(spacing(mask) != step for mask in turned):
        step, turned = 1, [mask.contiguous() for mask in turned]
    return turn, step, tuple(turned)


def empty_like(x: Tensor) -> Tensor:
    """Dense memory in the order of `x`: a mask lies as the masks that it was made from do."""
    return x.new_empty(x.mT.shape).mT if by_frames(x) else x.new_empty(x.shape)


def empty_spectrum_like(spectrum: Tensor) -> Tensor:
    """Dense memory for real and imaginary parts `(..., F, N, 2)` in the order of a spectrum."""
    if by_frames(spectrum[..., 0]):
        return spectrum.new_empty(spectrum.transpose(-2, -3).shape).transpose(-2, -3)
    return spectrum.new_empty(spectrum.shape)


def laid_out(result: Tensor, like: Tensor) -> Tensor:
    """What the fakes promise: a result that lies in the order of `like`."""
    return result if result.stride() == like.stride() else like.copy_(result)


def frames_first(points: Tensor) -> bool:
    """Whether `(B, F, N, D)` lies in memory as `(B, N, F, D)`, as a recurrent network makes it."""
    return not points.is_contiguous() and points.transpose(1, 2).is_contiguous()


def empty_gradient(points: Tensor) -> Tensor:
    """Memory for a gradient: frames first where the points are, else contiguous."""
    if frames_first(points):
        return torch.empty_like(points.transpose(1, 2)).transpose(1, 2)
    return torch.empty_like(points, memory_format=torch.contiguous_format)
