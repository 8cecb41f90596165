"""Measures of confidence beside the paper's, each a number a song, computed without the true stems."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from torchprim.ensemble.clustering import soft_assignment
from torchprim.ensemble.confidence import confidence_measure, loudest, silhouette
from torchprim.separators.base import PIECE_SECONDS, Separation
from torchprim.separators.primitive import PrimitiveSeparator
from torchprim.spectra.mixture import Mixture

LOW = 220.0  # Hz
# name -> what it is, for the table
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
    """How far primitives say the same: 1 - 2 σ, σ the weighted standard deviation of their masks.

    Mean over the loudest 1 % of bins; 1 where all masks are equal, 0 where half of them (by weight) say 0
    and half 1.

    Args:
        masks: D masks `(..., F, N)`.
        magnitude: `(..., F, N)`.
        weights: one a mask.

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


def _of_a_part(
    masks: list[Tensor], magnitude: Tensor, frequencies: Tensor, weights, beta: float
) -> list[Tensor]:
    """The further measures of one excerpt: exact silhouette, loudest 10 %, energy, agreement, low energy."""
    generator = torch.Generator(magnitude.device).manual_seed(0)
    power = magnitude.double().square()
    total = power.sum().clamp_min(1e-300)
    vocals = soft_assignment(masks, weights, beta)
    return [
        silhouette(masks, magnitude, weights, None),
        confidence_measure(masks, magnitude, weights, beta, share=0.1, generator=generator).confidence,
        ((2 * vocals - 1).abs().double() * power).sum() / total,
        agreement(masks, magnitude, weights),
        power[frequencies < LOW].sum() / total,
    ]


@torch.no_grad()
def measures(
    separator: torch.nn.Module, separation: Separation, mixture: Tensor, sample_rate: float
) -> dict[str, float]:
    """All measures of `MEASURES` for one song; of a network alone the paper's and its factors.

    Those that the separation does not bring are means over excerpts of 30 s, weighted by their length.

    Args:
        separator: what made the separation.
        separation: of `separator(..., keep_masks=True)`.
        mixture: `(C, T)`.
        sample_rate: in Hz.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.evaluation.trust import MEASURES, measures
        >>> separator, noise = tp.PrimitiveSeparator("paper"), torch.randn(1, 44100)
        >>> found = measures(separator, separator(noise, 44100, channels=True), noise, 44100)
        >>> set(found) == set(MEASURES)
        True
    """
    found = {
        "confidence": separation.confidence.item(),
        "posterior": separation.posterior.item(),
        "silhouette": separation.silhouette.item(),
    }
    if not isinstance(separator, PrimitiveSeparator):
        return found
    mono = mixture.mean(0)
    grid = Mixture(mono - mono.mean(), sample_rate, separator.geometry)
    magnitude = grid.magnitude()
    masks = list(separation.masks.values())
    frames = min(magnitude.shape[-1], *(mask.shape[-1] for mask in masks))
    geometry = separator.geometry
    frequencies = torch.arange(geometry.bins, device=mono.device) * geometry.bin_width
    count = max(1, round(frames * geometry.hop_length / geometry.sample_rate / PIECE_SECONDS))
    edges = [round(i * frames / count) for i in range(count + 1)]
    total = torch.zeros(5, dtype=torch.float64)
    for start, stop in itertools.pairwise(edges):
        part = [mask[..., start:stop] for mask in masks]
        values = _of_a_part(
            part, magnitude[..., start:stop], frequencies, separator.cue_weights(), separator.preset.beta
        )
        total += torch.stack([v.double().cpu() for v in values]) * (stop - start) / frames
    exact, loud, energy, agreeing, low = total.tolist()
    return found | {
        "exact silhouette": exact,
        "exact confidence": exact * found["posterior"],
        "loudest 10 %": loud,
        "energy-weighted posterior": energy,
        "agreement": agreeing,
        "low energy": low,
    }
