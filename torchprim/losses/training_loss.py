"""What networks are trained with: clustering losses of embeddings, distances of masked magnitudes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.losses.sd_sdr import distortion_loss
from torchprim.losses.grams import Grams, weighted_grams
from torchprim.networks.heads import NetworkOutput

CLUSTERING = ("deep", "whitened")
MASKING = ("distance", "sd-sdr")


def deep_clustering_loss(embedding: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Deep clustering (Hershey et al. 2016): bins of one class close together, of two classes apart.

    |VᵀV|² - 2 |VᵀY|² + |YᵀY|², the squared Frobenius norm of V Vᵀ - Y Yᵀ, where w multiplies the rows of
    V and Y; divided by (Σ w²)² of the item, so that loudness and length change nothing.

    Args:
        embedding: `(B, F, N, D)`, rows of unit norm.
        labels: `(B, F, N)`, true (or 1) where vocals are louder.
        weights: `(B, F, N)`, not negative, such as the square root of the mixture's magnitude over its
            mean.

    Returns:
        The mean over the batch, a scalar in [0, 1] for labels of 0 and 1 and embeddings in one orthant.
        An item whose weights are all 0 counts as 0.

    Raises:
        ValueError: for shapes that do not fit.

    Example:
        >>> import torch
        >>> from torchprim.losses.training_loss import deep_clustering_loss
        >>> labels = torch.rand(2, 65, 40) > 0.5
        >>> perfect = torch.stack([labels, ~labels], -1).float()
        >>> bool(deep_clustering_loss(perfect, labels, torch.rand(2, 65, 40)) < 1e-6)
        True
    """
    return _deep(weighted_grams(embedding, labels, weights))


def _deep(grams: Grams) -> Tensor:
    distance = _square(grams.embedding) - 2 * _square(grams.cross) + _square(grams.labels)
    return (distance / _or_one(grams.total).square()).mean()


def whitened_kmeans_loss(
    embedding: Tensor, labels: Tensor, weights: Tensor, regularisation: float = 1e-3
) -> Tensor:
    """Whitened k-means (Wang, Le Roux and Hershey 2018, equation 10): clusters tight for their own spread.

    D - tr((VᵀV + λ a I)⁻¹ VᵀY (YᵀY + λ b I)⁻¹ YᵀV), over D, with w multiplying the rows of V and Y.
    a and b are the means of the diagonals: without them a dimension that is not used yet, or an item with
    one class alone, has no inverse.

    Args:
        embedding: `(B, F, N, D)`.
        labels: `(B, F, N)`, true (or 1) where vocals are louder.
        weights: `(B, F, N)`, not negative.
        regularisation: λ, positive.

    Returns:
        The mean over the batch, a scalar in [1 - 2 / D, 1]. An item whose weights are all 0 counts as 0.

    Raises:
        ValueError: for shapes that do not fit, or a regularisation that is not positive.

    Example:
        >>> import torch
        >>> from torchprim.losses.training_loss import whitened_kmeans_loss
        >>> labels = torch.rand(2, 65, 40) > 0.5
        >>> perfect = torch.stack([labels, ~labels], -1).float()
        >>> round(whitened_kmeans_loss(perfect, labels, torch.ones(2, 65, 40)).item(), 2)
        0.0
    """
    checks.positive(regularisation, "regularisation")
    return _whitened(weighted_grams(embedding, labels, weights), regularisation)


def _whitened(grams: Grams, regularisation: float = 1e-3) -> Tensor:
    dimensions = grams.cross.shape[-2]
    # Inverses of nearly singular matrices of 20 x 20 want double precision, which costs nothing there.
    whitened = _solve(grams.embedding.double(), grams.cross.double(), regularisation)  # (B, D, 2)
    projected = _solve(grams.labels.double(), grams.cross.double().mT, regularisation)  # (B, 2, D)
    explained = (whitened * projected.mT).sum((-2, -1))
    loss = torch.where(grams.total > 0, 1 - explained / dimensions, 0)
    return loss.mean().to(grams.total.dtype)


def mask_loss(
    mask: Tensor,
    mixture: Tensor,
    vocals: Tensor,
    accompaniment: Tensor,
    *,
    order: int = 1,
    vocals_share: float = 0.5,
) -> Tensor:
    """Distance of the masked mixture from the sources, on magnitudes (mask inference; Luo et al. 2017).

    s mean |m X - V|^p / c + (1 - s) mean |(1 - m) X - A|^p / c, over bins, with c = mean X^p of the item.
    X, V and A are magnitudes, blind to phase: where sources cancel, V may exceed X, which no mask reaches;
    and with p = 1 the best mask is a median, which keeps vocals too quiet. `phase_sensitive` targets with
    p = 2 are the error of the complex spectra instead, up to a constant.

    Args:
        mask: `(B, F, N)` in [0, 1], 1 = vocals.
        mixture: `(B, F, N)`, magnitude.
        vocals: `(B, F, N)`, magnitude or phase-sensitive target.
        accompaniment: `(B, F, N)`, likewise.
        order: p, 1 or 2.
        vocals_share: s, how much the vocals' error counts, in [0, 1].

    Returns:
        The mean over the batch, a scalar.

    Raises:
        ValueError: for shapes that do not fit, or an order or share out of range.

    Example:
        >>> import torch
        >>> from torchprim.losses.training_loss import mask_loss
        >>> v, a = torch.rand(2, 65, 40), torch.rand(2, 65, 40)
        >>> bool(mask_loss(v / (v + a), v + a, v, a) < 1e-6)
        True
    """
    mask = checks.real(mask, "mask", 3, "(B, F, N)")
    for name, value in (("mixture", mixture), ("vocals", vocals), ("accompaniment", accompaniment)):
        if value.shape != mask.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}, the mask {tuple(mask.shape)}")
    checks.integer(order, "order", 1, 2)
    if not 0 <= vocals_share <= 1:
        raise ValueError(f"vocals_share must lie in [0, 1], got {vocals_share!r}")
    masked = mask * mixture

    def error(difference: Tensor) -> Tensor:
        return (difference.abs() if order == 1 else difference.square()).mean((-2, -1))

    both = vocals_share * error(masked - vocals) + (1 - vocals_share) * error(
        mixture - masked - accompaniment
    )
    return (both / _or_one(error(mixture))).mean()


def phase_sensitive(mixture: Tensor, source: Tensor) -> Tensor:
    """What a real mask can reach of a source: its part in phase with the mixture (Erdogan et al. 2015).

    |S| cos(∠S - ∠X), truncated to [0, |X|], so that a mask in [0, 1] meets it.

    Args:
        mixture: `(..., F, N)`, complex.
        source: `(..., F, N)`, complex.

    Returns:
        `(..., F, N)`, real.

    Example:
        >>> import torch
        >>> from torchprim.losses.training_loss import phase_sensitive
        >>> phase_sensitive(torch.tensor([2 + 0j, 2 + 0j]), torch.tensor([1 + 1j, -1 + 0j]))
        tensor([1., 0.])
    """
    magnitude = mixture.abs()
    in_phase = (source * mixture.conj()).real / _or_one(magnitude)
    return torch.minimum(in_phase.clamp(min=0), magnitude)


class TrainingLoss(NamedTuple):
    """What is minimised, and its parts; a part is None where the network has no such head.

    With an embedding there are its Gram matrices, too, which know where the classes lie.
    """

    total: Tensor
    clustering: Tensor | None
    mask: Tensor | None
    grams: Grams | None = None


def training_loss(
    output: NetworkOutput,
    labels: Tensor,
    weights: Tensor,
    mixture: Tensor,
    vocals: Tensor,
    accompaniment: Tensor,
    *,
    frames: Tensor | None = None,
    clustering: str = "deep",
    order: int = 1,
    balance: float = 0.5,
    masking: str = "distance",
) -> TrainingLoss:
    """The loss of whatever heads a network has: (1 - balance) clustering + balance mask.

    Args:
        output: of the network.
        labels: `(B, F, N)`, true (or 1) where vocals are louder.
        weights: `(B, F, N)` of the clustering loss.
        mixture: `(B, F, N)`, magnitude.
        vocals: `(B, F, N)`, as in `mask_loss`.
        accompaniment: `(B, F, N)`, likewise.
        frames: `(K,)`, where the network embedded these alone.
        clustering: `deep` or `whitened`.
        order: of `mask_loss`.
        balance: share of the mask's loss where there are both heads, in [0, 1].
        masking: `distance`, which is `mask_loss`, or `sd-sdr`, which is `distortion_loss`.

    Returns:
        A `TrainingLoss`.

    Raises:
        ValueError: for an unknown loss, or a number out of range.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.losses.training_loss import training_loss
        >>> v, a = torch.rand(2, 1025, 20), torch.rand(2, 1025, 20)
        >>> output = tp.build_network("unet")(v + a)
        >>> loss = training_loss(output, v > a, torch.ones_like(v), v + a, v, a)
        >>> loss.clustering is None, bool(loss.total == loss.mask)
        (True, True)
    """
    if clustering not in CLUSTERING:
        raise ValueError(f"clustering must be one of {', '.join(CLUSTERING)}, got {clustering!r}")
    if masking not in MASKING:
        raise ValueError(f"masking must be one of {', '.join(MASKING)}, got {masking!r}")
    if not 0 <= balance <= 1:
        raise ValueError(f"balance must lie in [0, 1], got {balance!r}")
    grouped = masked = grams = None
    of_logits = output.logits is not None
    embedding = output.logits if of_logits else output.embedding
    if embedding is not None:
        if frames is not None:
            labels, weights = labels.index_select(-1, frames), weights.index_select(-1, frames)
        grams = weighted_grams(embedding, labels, weights, logits=of_logits)
        grouped = _deep(grams) if clustering == "deep" else _whitened(grams)
    if output.mask is not None:
        sources = (output.mask, mixture, vocals, accompaniment)
        masked = mask_loss(*sources, order=order) if masking == "distance" else distortion_loss(*sources)
    if grouped is None or masked is None:
        return TrainingLoss(masked if grouped is None else grouped, grouped, masked, grams)
    return TrainingLoss((1 - balance) * grouped + balance * masked, grouped, masked, grams)


def sample_frames(count: int, chosen: int, generator: torch.Generator | None = None, device=None) -> Tensor:
    """Some frames for the clustering loss, in order: `(min(chosen, count),)` of `range(count)`.

    Each is drawn from its own stretch of `count / chosen` frames, so that none lie together: with 32 of
    256 the loss is learnt as well as with all, and costs a tenth.

    Args:
        count: frames N of a batch.
        chosen: how many to draw, at least 1.
        generator: for the draw.
        device: of the result; by default the generator's.

    Example:
        >>> import torch
        >>> from torchprim.losses.training_loss import sample_frames
        >>> frames = sample_frames(256, 32, torch.Generator().manual_seed(0))
        >>> frames.shape, bool((frames // 8 == torch.arange(32)).all())
        (torch.Size([32]), True)
    """
    checks.integer(count, "count", 1)
    chosen = min(count, checks.integer(chosen, "chosen", 1))
    where = "cpu" if generator is None else generator.device
    place = torch.arange(chosen, device=where) + torch.rand(chosen, generator=generator, device=where)
    frames = (place * (count / chosen)).long().clamp(max=count - 1)
    return frames.to(where if device is None else device)


def _square(matrix: Tensor) -> Tensor:
    """Squared Frobenius norm."""
    return matrix.square().sum((-2, -1))


def _or_one(total: Tensor) -> Tensor:
    """A divisor: 1 where there is nothing to divide."""
    return torch.where(total > 0, total, 1)


def _solve(matrix: Tensor, right: Tensor, regularisation: float) -> Tensor:
    """(M + λ a I)⁻¹ R with a the mean of the diagonal; 1 for a matrix of zeros."""
    size = matrix.shape[-1]
    scale = _or_one(matrix.diagonal(dim1=-2, dim2=-1).mean(-1))
    eye = torch.eye(size, dtype=matrix.dtype, device=matrix.device)
    # `solve` would wait for the device to say whether an inverse exists; here it does.
    return torch.linalg.solve_ex(matrix + regularisation * scale[:, None, None] * eye, right).result
