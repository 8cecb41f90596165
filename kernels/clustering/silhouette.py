"""Silhouette of every point of a clustering, exact, in tiles."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.kernels.dispatch import takes_kernel

# Distances held at once on a CPU, whatever the number of points.
_TILE = 1 << 22
# The kernel holds a point's coordinates in registers.
_MOST_DIMENSIONS = 32


class _Means(NamedTuple):
    """What the silhouette of each point is made of, each `(B, P)`."""

    within: Tensor  # mean distance to the other points of the own cluster
    between: Tensor  # mean distance to the points of the nearest other cluster
    others: Tensor  # how many the first is a mean of
    far: Tensor  # how many the second is a mean of
    nearest: Tensor  # number of that cluster; the lower one of two that are equally near
    defined: Tensor  # where both are there and not both 0


def _distances(rows: Tensor, points: Tensor) -> Tensor:
    """By differences, not by products: those cancel where points lie close together."""
    return torch.cdist(rows, points, compute_mode="donot_use_mm_for_euclid_dist")


def _means(labels: Tensor, sums: Tensor, sizes: Tensor) -> _Means:
    own = labels[:, None] == torch.arange(sums.shape[1], device=labels.device)[:, None]  # (B, K, P)
    others = sizes.gather(1, labels) - 1
    within = (sums * own).sum(1) / others.clamp(min=1)
    mean = sums / sizes.clamp(min=1)[..., None]
    between, nearest = mean.masked_fill(own | (sizes == 0)[..., None], torch.inf).min(1)
    defined = (others > 0) & torch.isfinite(between) & (torch.maximum(within, between) > 0)
    between = torch.where(defined, between, 0)
    return _Means(within, between, others, sizes.gather(1, nearest), nearest, defined)


def reference(points: Tensor, labels: Tensor, clusters: int) -> tuple[Tensor, Tensor, Tensor]:
    """Silhouettes `(B, P)`, sums of distances to each cluster `(B, K, P)`, and sizes `(B, K)`."""
    member = torch.nn.functional.one_hot(labels, clusters).to(points.dtype)  # (B, P, K)
    sums = points.new_empty(len(points), clusters, points.shape[1])
    tile = max(1, _TILE // max(1, points.shape[1]))
    for item, belongs, out in zip(points, member, sums, strict=True):
        for first in range(0, len(item), tile):
            distance = _distances(item[first : first + tile], item)
            out[:, first : first + tile] = (distance @ belongs).T
    sizes = member.sum(1)
    within, between, *_, defined = _means(labels, sums, sizes)
    largest = torch.where(defined, torch.maximum(within, between), 1)
    return torch.where(defined, (between - within) / largest, 0), sums, sizes


def reference_gradient(gradient: Tensor, points: Tensor, labels: Tensor, sums: Tensor, sizes: Tensor):
    """Each distance is in the silhouettes of both its points; its own gradient is the unit vector, or 0."""
    within, between, others, far, nearest, defined = _means(labels, sums, sizes)
    within, between = (torch.where(defined, x, 1) for x in (within, between))
    gradient = torch.where(defined, gradient, 0)
    apart = between >= within  # s = 1 - a / b, else b / a - 1
    own = gradient * torch.where(apart, -1 / between, -between / within**2) / others.clamp(min=1)
    other = gradient * torch.where(apart, within / between**2, 1 / within) / far.clamp(min=1)
    # Of the sums: (B, K, P).
    of_sums = torch.zeros_like(sums).scatter_(1, nearest[:, None], other[:, None])
    of_sums.scatter_(1, labels[:, None], own[:, None])
    result = torch.empty_like(points, memory_format=torch.contiguous_format)
    tile = max(1, _TILE // max(1, points.shape[1]))
    for item, label, slope, out in zip(points, labels, of_sums, result, strict=True):
        for first in range(0, len(item), tile):
            rows = item[first : first + tile]
            distance = _distances(rows, item)
            pull = slope[:, first : first + tile][label].T + slope[label[first : first + tile]]
            pull = torch.where(distance > 0, pull / distance, 0)
            for d, (x, y) in enumerate(zip(rows.unbind(-1), item.unbind(-1), strict=True)):
                out[first : first + tile, d] = (pull * (x[:, None] - y)).sum(-1)
    return result


def _takes_kernel(points: Tensor, *others: Tensor) -> bool:
    return takes_kernel(points, *others) and points.shape[-1] <= _MOST_DIMENSIONS


@torch.library.custom_op("torchprim::silhouette", mutates_args=())
def _silhouette(points: Tensor, labels: Tensor, clusters: int) -> tuple[Tensor, Tensor, Tensor]:
    if _takes_kernel(points, labels):
        from torchprim.kernels.clustering import silhouette_triton

        return silhouette_triton.forward(points, labels, clusters)
    return reference(points, labels, clusters)


@_silhouette.register_fake
def _(points, labels, clusters):
    items, count, _ = points.shape
    shapes = ((items, count), (items, clusters, count), (items, clusters))
    return tuple(points.new_empty(shape) for shape in shapes)


@torch.library.custom_op("torchprim::silhouette_backward", mutates_args=())
def _silhouette_backward(
    gradient: Tensor, points: Tensor, labels: Tensor, sums: Tensor, sizes: Tensor
) -> Tensor:
    if _takes_kernel(points, gradient, labels):
        from torchprim.kernels.clustering import silhouette_triton

        return silhouette_triton.backward(gradient, points, labels, sums, sizes)
    return reference_gradient(gradient, points, labels, sums, sizes)


@_silhouette_backward.register_fake
def _(gradient, points, labels, sums, sizes):
    return torch.empty_like(points, memory_format=torch.contiguous_format)


def _remember(ctx, inputs, output):
    points, labels, _ = inputs
    ctx.save_for_backward(points, labels, *output[1:])
    ctx.mark_non_differentiable(*output[1:])


def _gradients(ctx, gradient, *_):
    return _silhouette_backward(gradient, *ctx.saved_tensors), None, None


_silhouette.register_autograd(_gradients, setup_context=_remember)


def silhouette_samples(points: Tensor, labels: Tensor, clusters: int = 2) -> Tensor:
    """Silhouette of each point with Euclidean distances (Rousseeuw 1987; equation 2 of the paper).

    s = (b - a) / max(a, b), a the mean distance to the other points of its own cluster, b the least mean
    distance to the points of another cluster; 0 for a point alone in its cluster, where only one
    cluster has points, and where a = b = 0. Distances are made tile by tile and never stored whole.

    Args:
        points: `(..., P, D)`.
        labels: `(..., P)`, whole numbers in [0, clusters).
        clusters: K, at least 2.

    Returns:
        `(..., P)` in [-1, 1]. The gradient flows to the points; that of a distance of 0 is 0.

    Raises:
        ValueError: for shapes that do not fit, or fewer than 2 clusters.

    Example:
        >>> import torch
        >>> from torchprim.kernels.clustering.silhouette import silhouette_samples
        >>> points = torch.tensor([[0.0], [1.0], [10.0]])
        >>> [round(x, 3) for x in silhouette_samples(points, torch.tensor([0, 0, 1])).tolist()]
        [0.9, 0.889, 0.0]
    """
    if clusters < 2:
        raise ValueError(f"clusters must be at least 2, got {clusters}")
    if points.dim() < 2 or labels.shape != points.shape[:-1]:
        raise ValueError(f"labels must have shape {tuple(points.shape[:-1])}, got {tuple(labels.shape)}")
    items = math.prod(points.shape[:-2])
    flat = points.reshape(items, *points.shape[-2:])
    if flat.dtype not in (torch.float32, torch.float64):
        flat = flat.float()
    score, _, _ = _silhouette(flat, labels.reshape(flat.shape[:2]).long(), clusters)
    return score.reshape(labels.shape)
