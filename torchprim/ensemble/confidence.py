"""How far to trust a separation, with no ground truth: section 3.1 of the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.ensemble.clustering import centre_distances, checked_masks, checked_weights
from torchprim.kernels.clustering.loudest import loudest_bins, values_at
from torchprim.kernels.clustering.silhouette import silhouette_samples
from torchprim.kernels.clustering.soft_assignment import assign, root

# So hard that a point belongs to the nearer centre, however close the other one is.
_HARD = 1e30


class Confidence(NamedTuple):
    """The measure and its two factors, each `(...)`: one number an item of the batch."""

    confidence: Tensor
    silhouette: Tensor
    posterior: Tensor


def loudest(masks: Sequence[Tensor] | Tensor, magnitude: Tensor, share: float) -> Tensor:
    """Embedding of the loudest `share` of each item's bins: `(..., P, D)`, loudest first on a CPU."""
    magnitude = checks.magnitude(magnitude)
    if isinstance(masks, Tensor):
        masks = checks.real(masks, "masks", 3, "(..., F, N, D)")
        shape = masks.shape[:-1]
    else:
        masks = checked_masks(masks)
        shape = masks[0].shape
    if magnitude.shape != shape:
        raise ValueError(f"magnitude has shape {tuple(magnitude.shape)}, the masks {tuple(shape)}")
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share!r}")
    count = max(1, math.ceil(share * shape[-2] * shape[-1]))
    index = loudest_bins(magnitude, count)
    if not isinstance(masks, Tensor):
        return values_at(masks, index)
    # A network's embedding is large, and lies frames first: its bins are fetched where they lie.
    items, chosen = masks.reshape(-1, *masks.shape[-3:]), index.reshape(-1, count)
    columns = shape[-1]
    points = [item[i // columns, i % columns] for item, i in zip(items, chosen, strict=True)]
    return torch.stack(points).reshape(*index.shape, masks.shape[-1])


def _checked_centres(centres: Tensor | None, points: Tensor) -> Tensor | None:
    if centres is None:
        return None
    centres = checks.real(centres, "centres", 2, "(..., 2, D)").to(points)
    if centres.shape not in ((2, points.shape[-1]), (*points.shape[:-2], 2, points.shape[-1])):
        raise ValueError(f"centres must have shape (..., 2, {points.shape[-1]}), got {tuple(centres.shape)}")
    return centres


def _posterior(points: Tensor, weights: Tensor, beta: float | Tensor, centres: Tensor | None) -> Tensor:
    """How far each point `(..., P, D)` belongs to the vocals: `(..., P)`."""
    if centres is None:
        return assign(points.unbind(-1), weights, beta)
    to_zero, to_one = centre_distances(points.unbind(-1), weights, centres)
    return torch.sigmoid(beta * (to_zero - to_one))


def _mean_silhouette(
    points: Tensor, weights: Tensor, n_points: int | None, generator, centres: Tensor | None
) -> Tensor:
    if n_points is not None:
        checks.integer(n_points, "n_points", 2)
        # One draw for the whole batch: an item's result does not depend on its neighbours.
        device = points.device if generator is None else generator.device
        chosen = torch.randperm(points.shape[-2], generator=generator, device=device)[:n_points]
        points = points.index_select(-2, chosen.to(points.device))
    centres = None if centres is None else centres.detach()
    vocals = _posterior(points.detach(), weights.detach(), _HARD, centres) > 0.5
    # The silhouette's distance is the clustering's: weighted.
    scaled = points * root(weights)
    return silhouette_samples(scaled, vocals.long()).mean(-1)


def _mean_posterior(points: Tensor, weights: Tensor, beta: float | Tensor, centres: Tensor | None) -> Tensor:
    checks.positive(beta, "beta")
    vocals = _posterior(points, weights, beta, centres)
    # (K max γ - 1) / (K - 1) with K = 2
    return (2 * torch.maximum(vocals, 1 - vocals) - 1).mean(-1)


def silhouette(
    masks: Sequence[Tensor] | Tensor,
    magnitude: Tensor,
    weights: Sequence[float] | Tensor | None = None,
    n_points: int | None = 1000,
    *,
    centres: Tensor | None = None,
    share: float = 0.01,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean silhouette of loud bins in the primitive embedding (section 3.1.1, equation 2).

    Each bin belongs to the nearer centre, 0 or 1 if none are given; distances are those of equation 1.

    Args:
        masks: D masks `(..., F, N)`, as a sequence or as an embedding `(..., F, N, D)`.
        magnitude: of the mixture, `(..., F, N)`: the loudest bins are taken.
        weights: `(D,)` of the clustering; 1 each by default.
        n_points: bins drawn from the loudest ones, at least 2; None takes all, exactly, in tiles.
        centres: `(2, D)` or `(..., 2, D)`, accompaniment first; 0 and 1 by default.
        share: of the bins that counts as the loudest.
        generator: for the draw.

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
    return _mean_silhouette(points, weights, n_points, generator, _checked_centres(centres, points))


def posterior_strength(
    masks: Sequence[Tensor] | Tensor,
    magnitude: Tensor,
    weights: Sequence[float] | Tensor | None = None,
    beta: float | Tensor = 5.0,
    *,
    centres: Tensor | None = None,
    share: float = 0.01,
) -> Tensor:
    """Mean strength of the soft assignments of the loudest bins (section 3.1.2, equation 3).

    (K max_k γ_k - 1) / (K - 1), here with K = 2: 0 for an even split, 1 for a firm decision.

    Args:
        masks: D masks `(..., F, N)`, as a sequence or as an embedding `(..., F, N, D)`.
        magnitude: of the mixture, `(..., F, N)`.
        weights: `(D,)` of the clustering; 1 each by default.
        beta: of the clustering, positive.
        centres: `(2, D)` or `(..., 2, D)`, accompaniment first; 0 and 1 by default.
        share: of the bins that counts as the loudest.

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
    return _mean_posterior(points, weights, beta, _checked_centres(centres, points))


def confidence_measure(
    masks: Sequence[Tensor] | Tensor,
    magnitude: Tensor,
    weights: Sequence[float] | Tensor | None = None,
    beta: float | Tensor = 5.0,
    n_points: int | None = 1000,
    *,
    centres: Tensor | None = None,
    share: float = 0.01,
    generator: torch.Generator | None = None,
) -> Confidence:
    """The paper's confidence: silhouette times posterior strength, per item of the batch.

    Args:
        masks: D masks `(..., F, N)`, as a sequence or as an embedding `(..., F, N, D)`.
        magnitude: of the mixture, `(..., F, N)`.
        weights: `(D,)` of the clustering; 1 each by default.
        beta: of the clustering, positive.
        n_points: bins drawn for the silhouette, at least 2; None takes all of the loudest.
        centres: `(2, D)` or `(..., 2, D)`, accompaniment first; 0 and 1 by default.
        share: of the bins that counts as the loudest.
        generator: for the draw.

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
    points = loudest(masks, magnitude, share)
    weights = checked_weights(weights, points.shape[-1], points)
    centres = _checked_centres(centres, points)
    strength = _mean_posterior(points, weights, beta, centres)
    score = _mean_silhouette(points, weights, n_points, generator, centres)
    return Confidence(score * strength, score, strength)
