"""Training loss of a network: the weighted sum of its heads' losses, and the frames it clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.losses.clustering import deep_clustering_from_grams, whitened_kmeans_from_grams
from torchprim.losses.grams import Grams, weighted_grams
from torchprim.losses.masking import mask_loss, stem_mask_loss
from torchprim.losses.sd_sdr import sd_sdr_loss, stem_sd_sdr_loss
from torchprim.networks.heads import NetworkOutput

CLUSTERING = ("deep", "whitened")
MASKING = ("distance", "sd-sdr")


class TrainingLoss(NamedTuple):
    """The loss and its parts; a part is None where the network has no such head.

    `grams` are the embedding's Gram matrices, from which `Anchors` takes the class means.
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
    sources: Sequence[Tensor],
    *,
    frames: Tensor | None = None,
    clustering: str = "deep",
    order: int = 1,
    balance: float = 0.5,
    masking: str = "distance",
) -> TrainingLoss:
    """Compute the loss of a network with one head or both (a chimera; Luo et al. 2017).

    (1 - balance) clustering + balance mask with both heads, else the loss of the one.

    Args:
        output: of the network.
        labels: `(B, F, N)`, true (or 1) where vocals are louder; of more than two sources the number of the
            loudest.
        weights: `(B, F, N)` of the clustering loss.
        mixture: `(B, F, N)`, magnitude.
        sources: K targets `(B, F, N)`, as in `mask_loss`, in the order of the classes: of two, accompaniment
            and vocals.
        frames: `(M,)`, indices of the frames in the embedding; None for all.
        clustering: `deep` or `whitened`.
        order: of `mask_loss` and `stem_mask_loss`.
        balance: weight of the mask's loss where there are both heads, in [0, 1].
        masking: `distance` for `mask_loss` or, of more than two sources, `stem_mask_loss`; `sd-sdr` for
            `sd_sdr_loss` or `stem_sd_sdr_loss`.

    Returns:
        A `TrainingLoss`.

    Raises:
        ValueError: for an unknown loss, a number out of range, fewer than two sources, or shapes that do not
            fit.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.losses.training_loss import training_loss
        >>> v, a = torch.rand(2, 1025, 20), torch.rand(2, 1025, 20)
        >>> output = tp.build_network("unet")(v + a)
        >>> loss = training_loss(output, v > a, torch.ones_like(v), v + a, (a, v))
        >>> loss.clustering is None, bool(loss.total == loss.mask)
        (True, True)
    """
    if clustering not in CLUSTERING:
        raise ValueError(f"clustering must be one of {', '.join(CLUSTERING)}, got {clustering!r}")
    if masking not in MASKING:
        raise ValueError(f"masking must be one of {', '.join(MASKING)}, got {masking!r}")
    if not 0 <= balance <= 1:
        raise ValueError(f"balance must lie in [0, 1], got {balance!r}")
    if len(sources) < 2:
        raise ValueError(f"sources must hold at least two, got {len(sources)}")
    cluster_term = mask_term = grams = None
    from_logits = output.logits is not None
    embedding = output.logits if from_logits else output.embedding
    if embedding is not None:
        if frames is not None:
            labels, weights = labels.index_select(-1, frames), weights.index_select(-1, frames)
        grams = weighted_grams(embedding, labels, weights, logits=from_logits, classes=len(sources))
        cluster_term = (
            deep_clustering_from_grams(grams) if clustering == "deep" else whitened_kmeans_from_grams(grams)
        )
    if output.mask is not None:
        mask_term = _mask_term(output.mask, mixture, sources, order, masking)
    if cluster_term is None or mask_term is None:
        total = mask_term if cluster_term is None else cluster_term
    else:
        total = (1 - balance) * cluster_term + balance * mask_term
    return TrainingLoss(total, cluster_term, mask_term, grams)


def _mask_term(mask: Tensor, mixture: Tensor, sources: Sequence[Tensor], order: int, masking: str) -> Tensor:
    """Compute the loss of a vocals mask `(B, F, N)`, or of K > 2 masks `(B, K, F, N)`."""
    if len(sources) > 2:
        given = (mask, mixture, sources)
        return stem_mask_loss(*given, order=order) if masking == "distance" else stem_sd_sdr_loss(*given)
    accompaniment, vocals = sources
    both = (mask, mixture, vocals, accompaniment)
    return mask_loss(*both, order=order) if masking == "distance" else sd_sdr_loss(*both)


def sample_frames(
    count: int,
    chosen: int,
    generator: torch.Generator | None = None,
    device: str | torch.device | None = None,
) -> Tensor:
    """Draw frames for the clustering loss by stratified sampling: sorted indices.

    One from each stratum of `count / chosen` frames: with 32 of 256 the loss is learnt as well as with all,
    and costs a tenth.

    Args:
        count: N, frames of a batch.
        chosen: number of frames to draw, at least 1.
        generator: for the draw.
        device: of the result; by default the generator's.

    Returns:
        `(min(chosen, count),)`, int64 in [0, count).

    Raises:
        ValueError: for a number below 1.

    Example:
        >>> import torch
        >>> from torchprim.losses.training_loss import sample_frames
        >>> frames = sample_frames(256, 32, torch.Generator().manual_seed(0))
        >>> frames.shape, bool((frames // 8 == torch.arange(32)).all())
        (torch.Size([32]), True)
    """
    checks.integer(count, "count", 1)
    chosen = min(count, checks.integer(chosen, "chosen", 1))
    source = "cpu" if generator is None else generator.device
    position = torch.arange(chosen, device=source) + torch.rand(chosen, generator=generator, device=source)
    frames = (position * (count / chosen)).long().clamp(max=count - 1)
    return frames.to(source if device is None else device)
