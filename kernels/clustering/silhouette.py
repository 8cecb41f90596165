"""Silhouette of all points of a clustering, exact, in tiles."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.kernels.register import register_gradient, register_operator

# Distances of a tile on a CPU, whatever the number of points.
_TILE = 1 << 22
# The kernel holds a point's coordinates in registers.
_MAX_DIMENSIONS = 32


class _Means(NamedTuple):
    """Mean distances of each point, each `(B, P)`."""

    within: Tensor  # mean distance to the other points of the same cluster
    between: Tensor  # mean distance to the points of the nearest other cluster
    others: Tensor  # number of points in the first mean
    far: Tensor  # number of points in the second mean
    nearest: Tensor  # index of the nearest other cluster; the lower one of two that are equally near
    defined: Tensor  # where both means exist and are not both 0


def _distances(rows: Tensor, points: Tensor) -> Tensor:
    """Compute distances from differences: products cancel where points lie close together."""
    return torch.cdist(rows, points, compute_mode="donot_use_mm_for_euclid_dist")


def _means(labels: Tensor, sums: Tensor, sizes: Tensor) -> _Means:
    member = labels[:, None] == torch.arange(sums.shape[1], device=labels.device)[:, None]  # (B, K, P)
    others = sizes.gather(1, labels) - 1
    within = (sums * member).sum(1) / others.clamp(min=1)
    mean = sums / sizes.clamp(min=1)[..., None]
    between, nearest = mean.masked_fill(member | (sizes == 0)[..., None], torch.inf).min(1)
    defined = (others > 0) & torch.isfinite(between) & (torch.maximum(within, between) > 0)
    between = torch.where(defined, between, 0)
    return _Means(within, between, others, sizes.gather(1, nearest), nearest, defined)


def reference(points: Tensor, labels: Tensor, clusters: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute silhouettes `(B, P)`, sums of distances to each cluster `(B, K, P)`, sizes `(B, K)`."""
    member = torch.nn.functional.one_hot(labels, clusters).to(points.dtype)  # (B, P, K)
    sums = points.new_empty(len(points), clusters, points.shape[1])
    tile = max(1, _TILE // max(1, points.shape[1]))
    for item, item_member, out in zip(points, member, sums, strict=True):
        for first in range(0, len(item), tile):
            distance = _distances(item[first : first + tile], item)
            out[:, first : first + tile] = (distance @ item_member).T
    sizes = member.sum(1)
    within, between, *_, defined = _means(labels, sums, sizes)
    largest = torch.where(defined, torch.maximum(within, between), 1)
    return torch.where(defined, (between - within) / largest, 0), sums, sizes


def reference_gradient(
    gradient: Tensor, points: Tensor, labels: Tensor, sums: Tensor, sizes: Tensor
) -> Tensor:
    """Compute the gradient to the points.

    A distance is in the silhouettes of both its points; its gradient is the unit vector, or 0.
    """
    within, between, others, far, nearest, defined = _means(labels, sums, sizes)
    within, between = (torch.where(defined, x, 1) for x in (within, between))
    gradient = torch.where(defined, gradient, 0)
    positive = between >= within  # s = 1 - a / b, else b / a - 1
    d_within = gradient * torch.where(positive, -1 / between, -between / within**2) / others.clamp(min=1)
    d_between = gradient * torch.where(positive, within / between**2, 1 / within) / far.clamp(min=1)
    d_sums = torch.zeros_like(sums).scatter_(1, nearest[:, None], d_between[:, None])  # (B, K, P)
    d_sums.scatter_(1, labels[:, None], d_within[:, None])
    result = torch.empty_like(points, memory_format=torch.contiguous_format)
    tile = max(1, _TILE // max(1, points.shape[1]))
    for item, label, slope, out in zip(points, labels, d_sums, result, strict=True):
        for first in range(0, len(item), tile):
            rows = item[first : first + tile]
            distance = _distances(rows, item)
            pull = slope[:, first : first + tile][label].T + slope[label[first : first + tile]]
            pull = torch.where(distance > 0, pull / distance, 0)
            for d, (x, y) in enumerate(zip(rows.unbind(-1), item.unbind(-1), strict=True)):
                out[first : first + tile, d] = (pull * (x[:, None] - y)).sum(-1)
    return result


def _empty_silhouette(points: Tensor, clusters: int) -> tuple[Tensor, ...]:
    items, count, _ = points.shape
    shapes = ((items, count), (items, clusters, count), (items, clusters))
    return tuple(points.new_empty(shape) for shape in shapes)


def _kernel_fits(points: Tensor) -> bool:
    return points.shape[-1] <= _MAX_DIMENSIONS


_silhouette = register_operator(
    "silhouette",
    reference,
    kernel="silhouette_triton.forward",
    fake=_empty_silhouette,
    fits=_kernel_fits,
)
_silhouette_backward = register_operator(
    "silhouette_backward",
    reference_gradient,
    kernel="silhouette_triton.backward",
    fake=lambda points: torch.empty_like(points, memory_format=torch.contiguous_format),
    fits=_kernel_fits,
)
register_gradient(_silhouette, _silhouette_backward, to=("points",), outputs=("score", "sums", "sizes"))


def silhouette_samples(points: Tensor, labels: Tensor, clusters: int = 2) -> Tensor:
    """Compute the silhouette of each point, Euclidean (Rousseeuw 1987; equation 2 of the paper).

    s = (b - a) / max(a, b), a the mean distance to the other points of its own cluster, b the least mean
    distance to the points of another cluster; 0 for a point alone in its cluster, where only one
    cluster has points, and where a = b = 0. Distances are computed tile by tile, never materialised whole.

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
