"""Confidence measures, the paper's and others: one number a song, computed without the true stems."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from torchprim import checks
from torchprim.audio.downmix import downmix
from torchprim.ensemble.clustering import soft_assignment
from torchprim.ensemble.confidence import confidence_measure, loudest, silhouette
from torchprim.separators.base import PIECE_SECONDS, Separation
from torchprim.separators.primitive import PrimitiveSeparator
from torchprim.spectra.mixture import Mixture

LOW = 220.0  # Hz
# name -> definition, for the page
MEASURES = {
    "confidence": "the paper's: silhouette (1000 points) times posterior strength, loudest 1 %",
    "posterior": "posterior strength alone, loudest 1 %",
    "silhouette": "silhouette alone, 1000 points of the loudest 1 %",
    "exact silhouette": "silhouette of all of the loudest 1 %",
    "exact confidence": "exact silhouette times posterior strength",
    "loudest 10 %": "the paper's, on the loudest 10 %",
    "energy-weighted posterior": "posterior strength of all bins, weighted by their power",
    "agreement": "1 - 2 standard deviations of the primitives' masks, mean over the loudest 1 %",
    "low energy": f"share of power below {LOW:g} Hz: knows nothing of the separation",
}


def agreement(masks: Sequence[Tensor], magnitude: Tensor, weights: Sequence[float]) -> Tensor:
    """Measure the agreement of masks: 1 - 2 σ, with σ their weighted standard deviation in a bin.

    Mean over the loudest 1 % of bins; 1 where all masks are equal, 0 where half of them (by weight) are 0
    and half 1.

    Args:
        masks: D masks `(..., F, N)`.
        magnitude: of the mixture, `(..., F, N)`.
        weights: of the masks, D numbers.

    Returns:
        `(...)` in [0, 1].

    Example:
        >>> import torch
        >>> from torchprim.evaluation.trust import agreement
        >>> zero = torch.zeros(9, 20)
        >>> agreement([zero, zero + 1], torch.rand(9, 20), [1, 1]).item()
        0.0
    """
    points = loudest(masks, magnitude, 0.01)  # (..., P, D)
    w = points.new_tensor(list(weights))
    w = w / w.sum()
    mean = (points * w).sum(-1, keepdim=True)
    deviation = ((points - mean).square() * w).sum(-1).sqrt()
    return (1 - 2 * deviation).mean(-1)


def _excerpt_measures(
    masks: list[Tensor], magnitude: Tensor, frequencies: Tensor, weights: Sequence[float], beta: float
) -> list[Tensor]:
    """Compute exact silhouette, loudest 10 %, energy-weighted posterior, agreement, low energy."""
    generator = torch.Generator(magnitude.device).manual_seed(0)
    power = checks.double(magnitude).square()
    total = power.sum().clamp_min(1e-300)
    vocals = soft_assignment(masks, weights, beta)
    return [
        silhouette(masks, magnitude, weights, None),
        confidence_measure(masks, magnitude, weights, beta, share=0.1, generator=generator).confidence,
        (checks.double((2 * vocals - 1).abs()) * power).sum() / total,
        agreement(masks, magnitude, weights),
        power[frequencies.to(power.device) < LOW].sum() / total,
    ]


@torch.no_grad()
def measures(
    separator: torch.nn.Module, separation: Separation, mixture: Tensor, sample_rate: float
) -> dict[str, float]:
    """Compute all of `MEASURES` for one song; for a network alone, the paper's and its two factors.

    Measures beyond the fields of the separation are means over excerpts of 30 s, weighted by duration.

    Args:
        separator: of the separation.
        separation: from `separator(..., keep_masks=True)`.
        mixture: `(C, T)`.
        sample_rate: in Hz.

    Returns:
        name of a measure -> value.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.evaluation.trust import MEASURES, measures
        >>> separator, noise = tp.PrimitiveSeparator("paper"), torch.randn(1, 44100)
        >>> values = measures(separator, separator(noise, 44100, channels=True), noise, 44100)
        >>> set(values) == set(MEASURES)
        True
    """
    paper = {
        "confidence": separation.confidence.item(),
        "posterior": separation.posterior.item(),
        "silhouette": separation.silhouette.item(),
    }
    if not isinstance(separator, PrimitiveSeparator):
        return paper
    mono = downmix(mixture)
    magnitude = Mixture(mono - mono.mean(), sample_rate, separator.geometry).magnitude()
    masks = list(separation.masks.values())
    frames = min(magnitude.shape[-1], *(mask.shape[-1] for mask in masks))
    geometry = separator.geometry
    frequencies = torch.arange(geometry.bins, device=mono.device) * geometry.bin_width
    count = max(1, round(frames * geometry.hop_length / geometry.sample_rate / PIECE_SECONDS))
    edges = [round(i * frames / count) for i in range(count + 1)]
    total = torch.zeros(5, dtype=torch.float64)
    for start, stop in itertools.pairwise(edges):
        excerpt = [mask[..., start:stop] for mask in masks]
        values = _excerpt_measures(
            excerpt, magnitude[..., start:stop], frequencies, separator.cue_weights(), separator.preset.beta
        )
        total += torch.stack([v.cpu().double() for v in values]) * (stop - start) / frames
    exact_silhouette, loudest_tenth, posterior, mask_agreement, low_energy = total.tolist()
    return paper | {
        "exact silhouette": exact_silhouette,
        "exact confidence": exact_silhouette * paper["posterior"],
        "loudest 10 %": loudest_tenth,
        "energy-weighted posterior": posterior,
        "agreement": mask_agreement,
        "low energy": low_energy,
    }
