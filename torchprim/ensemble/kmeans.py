"""Clustering of a network's embedding: centres found by k-means from known starts, and equation 1 there."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim import checks


def centre_distance(embedding: Tensor, centres: Tensor) -> Tensor:
    """Euclidean distance of every row to every centre: `(..., P, D)`, `(..., K, D)` -> `(..., P, K)`.

    By differences: products would cancel where rows lie close to a centre. Gradient 0 at distance 0.
    """
    return torch.cdist(embedding, centres, compute_mode="donot_use_mm_for_euclid_dist")


def refine_centres(
    points: Tensor,
    centres: Tensor,
    weights: Tensor | None = None,
    iterations: int = 10,
    prior: float = 0.0,
) -> Tensor:
    """k-means (Lloyd 1982) from given centres, each held back to where it started by a prior.

    c_k = (p W s_k + Σ w_i x_i) / (p W + Σ w_i), sums over the points nearest to c_k, s_k the start, W the
    sum of all weights: a cluster that has lost all its points stays where it started, and the clusters
    keep their names.

    Args:
        points: `(..., P, D)`.
        centres: the starts, `(K, D)` or `(..., K, D)`.
        weights: `(..., P)`, not negative; 1 each by default.
        iterations: at most; 0 leaves the starts.
        prior: p, how much of all points each start counts, not negative.

    Returns:
        `(..., K, D)`.

    Raises:
        ValueError: for shapes that do not fit, or a number out of range.

    Example:
        >>> import torch
        >>> from torchprim.ensemble.kmeans import refine_centres
        >>> points = torch.tensor([[0.0, 0.0], [0.0, 2.0], [9.0, 0.0], [9.0, 2.0]])
        >>> refine_centres(points, torch.tensor([[1.0, 1.0], [5.0, 5.0]]))
        tensor([[0., 1.],
                [9., 1.]])
    """
    points = checks.real(points, "points", 2, "(..., P, D)")
    starts = checks.real(centres, "centres", 2, "(..., K, D)").to(points)
    if starts.shape[-1] != points.shape[-1]:
        raise ValueError(f"centres have {starts.shape[-1]} dimensions, the points {points.shape[-1]}")
    checks.integer(iterations, "iterations", 0)
    if not 0 <= prior < float("inf"):
        raise ValueError(f"prior must not be negative, got {prior!r}")
    weights = points.new_ones(points.shape[:-1]) if weights is None else weights.to(points)
    if weights.shape != points.shape[:-1]:
        raise ValueError(f"weights have shape {tuple(weights.shape)}, the points {tuple(points.shape)}")
    count, dimensions = starts.shape[-2:]
    starts = starts.expand(*points.shape[:-2], count, dimensions)
    held = prior * weights.sum(-1)[..., None, None]
    centres = starts
    for _ in range(iterations):
        nearest = centre_distance(points.detach(), centres.detach()).argmin(-1)  # (..., P)
        member = torch.nn.functional.one_hot(nearest, count).to(points) * weights.unsqueeze(-1)
        sizes = held + member.sum(-2).unsqueeze(-1)  # (..., K, 1)
        sums = held * starts + member.mT @ points
        # A cluster of nothing has no mean.
        centres = torch.where(sizes > 0, sums / torch.where(sizes > 0, sizes, 1), starts)
    return centres


def assign_to_centres(embedding: Tensor, centres: Tensor, beta: float) -> Tensor:
    """Equation 1 in an embedding: sigmoid(β (d0 - d1)), d0 and d1 the distances to the two centres.

    Args:
        embedding: `(..., F, N, D)`.
        centres: `(..., 2, D)`, accompaniment first.
        beta: hardness, positive.

    Returns:
        The vocals mask, `(..., F, N)` in [0, 1].

    Raises:
        ValueError: for shapes that do not fit, or beta <= 0.

    Example:
        >>> import torch
        >>> from torchprim.ensemble.kmeans import assign_to_centres
        >>> embedding = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]])
        >>> [round(x, 2) for x in assign_to_centres(embedding, torch.eye(2), 5.0)[0].tolist()]
        [0.0, 1.0, 0.5]
    """
    embedding = checks.real(embedding, "embedding", 3, "(..., F, N, D)")
    centres = checks.real(centres, "centres", 2, "(..., 2, D)").to(embedding)
    if centres.shape[-2:] != (2, embedding.shape[-1]):
        raise ValueError(
            f"centres must have shape (..., 2, {embedding.shape[-1]}), got {tuple(centres.shape)}"
        )
    checks.positive(beta, "beta")
    # A recurrent network makes its embedding frames first, and a copy of it would be large.
    swapped = not embedding.is_contiguous() and embedding.transpose(-3, -2).is_contiguous()
    laid = embedding.transpose(-3, -2) if swapped else embedding
    distance = centre_distance(laid.flatten(-3, -2), centres)
    mask = torch.sigmoid(beta * (distance[..., 0] - distance[..., 1])).unflatten(-1, laid.shape[-3:-1])
    return mask.transpose(-2, -1) if swapped else mask
