"""What networks are trained with: clustering losses of embeddings, distances of masked magnitudes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.losses.clustering import deep_clustering_from_grams, whitened_kmeans_from_grams
from torchprim.losses.grams import Grams, weighted_grams
from torchprim.losses.masking import mask_loss
from torchprim.losses.sd_sdr import distortion_loss
from torchprim.networks.heads import NetworkOutput

CLUSTERING = ("deep", "whitened")
MASKING = ("distance", "sd-sdr")


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
        grouped = (
            deep_clustering_from_grams(grams) if clustering == "deep" else whitened_kmeans_from_grams(grams)
        )
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
