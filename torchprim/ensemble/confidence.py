"""Confidence in a separation, without ground truth (section 3.1 of the paper)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.ensemble.clustering import (
    checked_centres,
    checked_masks,
    checked_weights,
    is_default,
    membership,
    posteriors,
    weighted_distances,
)
from torchprim.kernels.clustering.loudest import loudest_bins, values_at
from torchprim.kernels.clustering.silhouette import silhouette_samples
from torchprim.kernels.clustering.soft_assignment import assign, root

Centres = Sequence[Sequence[float]] | Tensor
# As beta: memberships are 0 or 1, hard k-means.
_HARD = 1e30


class Confidence(NamedTuple):
    """Confidence and its two factors, each `(...)`, one number for each item of the batch."""

    confidence: Tensor
    silhouette: Tensor
    posterior: Tensor


def loudest(
    masks: Sequence[Tensor] | Tensor, magnitude: Tensor, share: float, maxima: Tensor | None = None
) -> Tensor:
    """Select the embedding of the loudest bins of each item.

    Args:
        masks: D masks `(..., F, N)`, as a sequence or as an embedding `(..., F, N, D)`.
        magnitude: of the mixture, `(..., F, N)`.
        share: of the bins that are selected, in (0, 1].
        maxima: of the magnitude, from `Mixture.maxima`; computed by default.

    Returns:
        `(..., P, D)`: in descending order of magnitude on a CPU, in another, reproducible one on a GPU.

    Raises:
        ValueError: for shapes that do not fit, or a share out of range.
    """
    magnitude = checks.magnitude(magnitude)
    if isinstance(masks, Tensor):
        masks = checks.real(masks, "masks", 3, "(..., F, N, D)")
        shape = masks.shape[:-1]
    else:
        masks = checked_masks(masks)
        shape = masks[0].shape
    if magnitude.shape != shape:
        raise ValueError(f"magnitude has shape {tuple(magnitude.shape)}, the masks {tuple(shape)}")
    if not 0 < checks.number(share, "share") <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share!r}")
    count = max(1, math.ceil(share * shape[-2] * shape[-1]))
    index = loudest_bins(magnitude, count, maxima)
    if not isinstance(masks, Tensor):
        return values_at(masks, index)
    # A network's embedding is large and not contiguous (frames first): index it without a copy.
    items, index = masks.reshape(-1, *masks.shape[-3:]), index.reshape(-1, count)
    item = torch.arange(len(items), device=index.device)[:, None]
    return items[item, index // shape[-1], index % shape[-1]].reshape(*shape[:-2], count, masks.shape[-1])


def _checked_centres(centres: Centres | None, points: Tensor, weights: Tensor) -> Tensor | None:
    """Check centres for points `(..., P, D)`; None for the default ones."""
    if centres is None:
        return None
    centres = checked_centres(centres, weights)
    if centres.dim() > 2 and centres.shape[:-2] != points.shape[:-2]:
        shape = (*points.shape[:-2], "K", points.shape[-1])
        raise ValueError(f"centres must have shape {shape} or {shape[-2:]}, got {tuple(centres.shape)}")
    return None if is_default(centres) else centres


def _posterior(points: Tensor, weights: Tensor, beta: float | Tensor, centres: Tensor | None) -> Tensor:
    """Compute the posteriors at each point `(..., P, D)`: `(..., P)` of the second cluster of two, else all.

    Returns `(..., K, P)` for K above 2.
    """
    coordinates = points.movedim(-1, 0).contiguous().unbind()  # no copy of what `values_at` returns
    if centres is None:
        return assign(coordinates, weights, beta)
    if centres.shape[-2] > 2:
        return posteriors(coordinates, weights, beta, centres, dim=-2)
    accompaniment, vocals = centres.unbind(-2)
    to_accompaniment = weighted_distances(coordinates, weights, accompaniment)
    return membership(to_accompaniment, weighted_distances(coordinates, weights, vocals), beta)


def _mean_silhouette(
    points: Tensor,
    weights: Tensor,
    n_points: int | None,
    generator: torch.Generator | None,
    centres: Tensor | None,
) -> Tensor:
    """Compute the mean silhouette of `n_points` points drawn from `(..., P, D)`, or of all: `(...)`."""
    if n_points is not None:
        checks.integer(n_points, "n_points", 2)
        # One draw for the whole batch, so that an item's result is independent of the others.
        device = points.device if generator is None else generator.device
        index = torch.randperm(points.shape[-2], generator=generator, device=device)[:n_points]
        points = points.movedim(-1, 0).index_select(-1, index.to(points.device)).movedim(0, -1)
    centres = None if centres is None else centres.detach()
    labels = _posterior(points.detach(), weights.detach(), _HARD, centres)
    clusters = 2 if centres is None else centres.shape[-2]
    labels = labels > 0.5 if clusters == 2 else labels.argmax(-2)
    # Euclidean distances of the scaled points are the clustering's weighted distances.
    scaled = points * root(weights)
    return silhouette_samples(scaled, labels.long(), clusters).mean(-1)


def _mean_posterior(points: Tensor, weights: Tensor, beta: float | Tensor, centres: Tensor | None) -> Tensor:
    """Compute the mean posterior strength of points `(..., P, D)`: `(...)`."""
    checks.positive(beta, "beta", points)
    posterior = _posterior(points, weights, beta, centres)
    if centres is not None and (count := centres.shape[-2]) > 2:
        return ((count * posterior.amax(-2) - 1) / (count - 1)).mean(-1)
    # With K = 2: 2 max(γ, 1 - γ) - 1 = 2 |γ - 1/2|
    return 2 * (posterior - 0.5).abs().mean(-1)


def silhouette(
    masks: Sequence[Tensor] | Tensor,
    magnitude: Tensor,
    weights: Sequence[float] | Tensor | None = None,
    n_points: int | None = 1000,
    *,
    centres: Centres | None = None,
    share: float = 0.01,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Compute the mean silhouette of the loudest bins in the embedding (section 3.1.1, equation 2).

    Each bin's label is the nearer centre; distances are the weighted ones of equation 1.

    Args:
        masks: D masks `(..., F, N)`, as a sequence or as an embedding `(..., F, N, D)`.
        magnitude: of the mixture, `(..., F, N)`.
        weights: `(D,)` of the clustering; 1 each by default.
        n_points: bins sampled from the loudest ones, at least 2; None for all of them, computed in tiles.
        centres: `(K, D)` or `(..., K, D)`, K at least 2; by default 0 for accompaniment and 1 for vocals.
        share: of the bins that count as the loudest.
        generator: for the sampling.

    Returns:
        `(...)` in [-1, 1]; 0 where all bins lie in one cluster.

    Raises:
        ValueError: for shapes that do not fit, weights of the wrong length, or n_points < 2.

    Example:
        >>> import torch, torchprim as tp
        >>> g = torch.Generator().manual_seed(0)
        >>> mask = (torch.rand(65, 400, generator=g) > 0.5).float()
        >>> round(tp.silhouette([mask, mask], torch.rand(65, 400, generator=g), generator=g).item(), 3)
        1.0
    """
    points = loudest(masks, magnitude, share)
    weights = checked_weights(weights, points.shape[-1], points)
    return _mean_silhouette(points, weights, n_points, generator, _checked_centres(centres, points, weights))


def posterior_strength(
    masks: Sequence[Tensor] | Tensor,
    magnitude: Tensor,
    weights: Sequence[float] | Tensor | None = None,
    beta: float | Tensor = 5.0,
    *,
    centres: Centres | None = None,
    share: float = 0.01,
) -> Tensor:
    """Compute the mean posterior strength of the loudest bins (section 3.1.2, equation 3).

    (K max_k γ_k - 1) / (K - 1), with K = 2 by default: 0 for equal posteriors, 1 for a hard decision.

    Args:
        masks: D masks `(..., F, N)`, as a sequence or as an embedding `(..., F, N, D)`.
        magnitude: of the mixture, `(..., F, N)`.
        weights: `(D,)` of the clustering; 1 each by default.
        beta: hardness of the clustering, positive.
        centres: `(K, D)` or `(..., K, D)`, K at least 2; by default 0 for accompaniment and 1 for vocals.
        share: of the bins that count as the loudest.

    Returns:
        `(...)` in [0, 1].

    Raises:
        ValueError: for shapes that do not fit, weights of the wrong length, or beta <= 0.

    Example:
        >>> import torch, torchprim as tp
        >>> magnitude = torch.rand(65, 40)
        >>> tp.posterior_strength([torch.full((65, 40), 0.5)], magnitude).item()
        0.0
    """
    points = loudest(masks, magnitude, share)
    weights = checked_weights(weights, points.shape[-1], points)
    return _mean_posterior(points, weights, beta, _checked_centres(centres, points, weights))


def confidence_measure(
    masks: Sequence[Tensor] | Tensor,
    magnitude: Tensor,
    weights: Sequence[float] | Tensor | None = None,
    beta: float | Tensor = 5.0,
    n_points: int | None = 1000,
    *,
    centres: Centres | None = None,
    share: float = 0.01,
    generator: torch.Generator | None = None,
    maxima: Tensor | None = None,
) -> Confidence:
    """Compute the confidence of section 3.1: silhouette times posterior strength, for each item of the batch.

    Args:
        masks: D masks `(..., F, N)`, as a sequence or as an embedding `(..., F, N, D)`.
        magnitude: of the mixture, `(..., F, N)`.
        weights: `(D,)` of the clustering; 1 each by default.
        beta: hardness of the clustering, positive.
        n_points: bins sampled for the silhouette, at least 2; None for all of the loudest.
        centres: `(K, D)` or `(..., K, D)`, K at least 2; by default 0 for accompaniment and 1 for vocals.
        share: of the bins that count as the loudest.
        generator: for the sampling.
        maxima: of the magnitude, from `Mixture.maxima`; computed by default.

    Returns:
        `confidence`, `silhouette` and `posterior`, each `(...)`.

    Raises:
        ValueError: for shapes that do not fit, weights of the wrong length, beta <= 0, or n_points < 2.

    Example:
        >>> import torch, torchprim as tp
        >>> masks, magnitude = torch.rand(3, 65, 40, 4), torch.rand(3, 65, 40)
        >>> tp.confidence_measure(masks, magnitude).confidence.shape
        torch.Size([3])
    """
    points = loudest(masks, magnitude, share, maxima)
    weights = checked_weights(weights, points.shape[-1], points)
    centres = _checked_centres(centres, points, weights)
    posterior = _mean_posterior(points, weights, beta, centres)
    mean_silhouette = _mean_silhouette(points, weights, n_points, generator, centres)
    return Confidence(mean_silhouette * posterior, mean_silhouette, posterior)
