"""Silhouette of every point of a clustering, exact, in tiles."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Distances held at once, whatever the number of points.
_TILE = 1 << 22


def _cluster_sums(rows: Tensor, points: Tensor, member: Tensor) -> Tensor:
    """Sum of the distances of each row to the points of each cluster: (R, D), (P, D), (P, K) -> (R, K).

    Distances by differences, not by products: those cancel where points lie close together.
    """
    distance = torch.cdist(rows, points, compute_mode="donot_use_mm_for_euclid_dist")
    return distance @ member


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
        >>> from torchprim.kernels.silhouette import silhouette_samples
        >>> points = torch.tensor([[0.0], [1.0], [10.0]])
        >>> [round(x, 3) for x in silhouette_samples(points, torch.tensor([0, 0, 1])).tolist()]
        [0.9, 0.889, 0.0]
    """
    if clusters < 2:
        raise ValueError(f"clusters must be at least 2, got {clusters}")
    if points.dim() < 2 or labels.shape != points.shape[:-1]:
        raise ValueError(f"labels must have shape {tuple(points.shape[:-1])}, got {tuple(labels.shape)}")
    flat = points.reshape(-1, *points.shape[-2:])
    flat_labels = labels.reshape(-1, labels.shape[-1])
    result = [_one_item(p, lab, clusters) for p, lab in zip(flat, flat_labels, strict=True)]
    return torch.stack(result).reshape(labels.shape) if result else points.new_zeros(labels.shape)


def _one_item(points: Tensor, labels: Tensor, clusters: int) -> Tensor:
    member = torch.nn.functional.one_hot(labels.long(), clusters).to(points.dtype)  # (P, K)
    sizes = member.sum(0)
    tile = max(1, _TILE // max(1, points.shape[0]))
    # Recomputing a tile in the backward pass keeps memory independent of P².
    sums = torch.cat(
        [checkpoint(_cluster_sums, rows, points, member, use_reentrant=False) for rows in points.split(tile)]
    )
    own = member.bool()
    others = (sizes - 1)[labels.long()]  # points of the own cluster besides itself
    within = (sums * member).sum(-1) / others.clamp(min=1)
    between = (sums / sizes.clamp(min=1)).masked_fill(own | (sizes == 0), torch.inf).amin(-1)
    largest = torch.maximum(within, between)
    defined = (others > 0) & torch.isfinite(between) & (largest > 0)
    between = torch.where(defined, between, 0)
    return torch.where(defined, (between - within) / torch.where(defined, largest, 1), 0)
