"""Clustering of a network's embedding: k-means from given initial centres, and soft assignment to them."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim import checks
from torchprim.ensemble.clustering import membership
from torchprim.kernels.autocast import outside_autocast


def centre_distances(points: Tensor, centres: Tensor) -> Tensor:
    """Compute the Euclidean distances `(..., P, K)` of points `(..., P, D)` to centres `(..., K, D)`.

    Without matrix products, which cancel where a point is close to a centre. Gradient 0 at distance 0.
    """
    return torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist")


@outside_autocast
def refine_centres(
    points: Tensor,
    centres: Tensor,
    weights: Tensor | None = None,
    iterations: int = 10,
    prior: float = 0.0,
) -> Tensor:
    """Run weighted k-means (Lloyd 1982) from given centres, with a prior at each of them.

    c_k = (p W s_k + Σ w_i x_i) / (p W + Σ w_i), sums over the points nearest to c_k, s_k the initial centre,
    W the sum of all weights. An empty cluster returns to its initial centre. The order of the clusters is
    that of the initial centres.

    Args:
        points: `(..., P, D)`.
        centres: the initial ones, `(K, D)` or `(..., K, D)`.
        weights: `(..., P)`, not negative; 1 each by default.
        iterations: number of updates; 0 returns the initial centres.
        prior: p, weight of an initial centre relative to that of all points, not negative.

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
    initial = checks.real(centres, "centres", 2, "(..., K, D)").to(points)
    if initial.shape[-1] != points.shape[-1]:
        raise ValueError(f"centres have {initial.shape[-1]} dimensions, the points {points.shape[-1]}")
    checks.integer(iterations, "iterations", 0)
    if not 0 <= prior < float("inf"):
        raise ValueError(f"prior must not be negative, got {prior!r}")
    weights = points.new_ones(points.shape[:-1]) if weights is None else weights.to(points)
    if weights.shape != points.shape[:-1]:
        raise ValueError(f"weights have shape {tuple(weights.shape)}, the points {tuple(points.shape)}")
    count, dimensions = initial.shape[-2:]
    initial = initial.expand(*points.shape[:-2], count, dimensions)
    prior_weight = prior * weights.sum(-1)[..., None, None]
    centres = initial
    for _ in range(iterations):
        labels = centre_distances(points.detach(), centres.detach()).argmin(-1)  # (..., P)
        members = torch.nn.functional.one_hot(labels, count).to(points) * weights.unsqueeze(-1)
        totals = prior_weight + members.sum(-2).unsqueeze(-1)  # (..., K, 1)
        sums = prior_weight * initial + members.mT @ points
        centres = torch.where(totals > 0, sums / torch.where(totals > 0, totals, 1), initial)
    return centres


def assign_to_centres(embedding: Tensor, centres: Tensor, beta: float) -> Tensor:
    """Assign the bins of an embedding softly to centres (equation 1): sigmoid(β (d0 - d1)) of two.

    Of K > 2 exp(-β d_k) / Σ_j exp(-β d_j). d_k is the Euclidean distance to centre k.

    Args:
        embedding: `(..., F, N, D)`.
        centres: `(..., K, D)`, K at least 2; of two the accompaniment is first.
        beta: hardness, positive.

    Returns:
        Of two centres the vocals mask, `(..., F, N)` in [0, 1]; of more K masks `(..., K, F, N)`, which add
        up to 1.

    Raises:
        ValueError: for shapes that do not fit, or beta <= 0.

    Example:
        >>> import torch
        >>> from torchprim.ensemble.kmeans import assign_to_centres
        >>> embedding = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]])
        >>> [round(x, 2) for x in assign_to_centres(embedding, torch.eye(2), 5.0)[0].tolist()]
        [0.0, 1.0, 0.5]
        >>> assign_to_centres(embedding, torch.tensor([[1, 0], [0, 1], [0.5, 0.5]]), 5.0).argmax(-3).tolist()
        [[0, 1, 2]]
    """
    embedding = checks.real(embedding, "embedding", 3, "(..., F, N, D)")
    centres = checks.real(centres, "centres", 2, "(..., K, D)").to(embedding)
    dimensions = embedding.shape[-1]
    if centres.shape[-1] != dimensions or centres.shape[-2] < 2:
        shape = tuple(centres.shape)
        raise ValueError(f"centres must have shape (..., K, {dimensions}) with K at least 2, got {shape}")
    checks.positive(beta, "beta")
    # The embedding of a recurrent network is contiguous with frames first; `flatten` would copy it.
    transposed = not embedding.is_contiguous() and embedding.transpose(-3, -2).is_contiguous()
    plane = embedding.transpose(-3, -2) if transposed else embedding
    distances = centre_distances(plane.flatten(-3, -2), centres)  # (..., P, K)
    mask = membership(*distances.unbind(-1), beta) if centres.shape[-2] == 2 else _posteriors(distances, beta)
    mask = mask.unflatten(-1, plane.shape[-3:-1])
    return mask.transpose(-2, -1) if transposed else mask


def _posteriors(distances: Tensor, beta: float) -> Tensor:
    """Compute the softmax `(..., K, P)` of -β d over K clusters, of distances `(..., P, K)`."""
    return torch.softmax(-beta * distances.mT, -2)
