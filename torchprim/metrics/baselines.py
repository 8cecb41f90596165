"""Baselines of the tables of results: the ideal ratio mask above, the nulls below; of two sources or more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.spectra.high_pass import high_pass
from torchprim.spectra.stft import Geometry, find_geometry, istft, stft

NULL_GAIN = 0.7
NULL_CUTOFF = 250.0  # Hz


class NullBand(NamedTuple):
    """Null of one source among several: a gain times one band of the mixture, whatever the music.

    Args:
        low: from this frequency on, in Hz.
        high: below this frequency, in Hz.
        gain: of the mixture.

    Example:
        >>> from torchprim.metrics.baselines import NullBand
        >>> str(NullBand(0, 250))
        '1.00 x the mixture from 0 to 250 Hz'
    """

    low: float
    high: float
    gain: float = 1.0

    def __str__(self) -> str:
        return f"{self.gain:.2f} x the mixture from {self.low} to {self.high} Hz"

    def mask(self, geometry: Geometry, like: Tensor) -> Tensor:
        """Return the mask `(F, 1)`, with the dtype and device of `like`."""
        frequency = torch.linspace(0, geometry.sample_rate / 2, geometry.bins, device=like.device)[:, None]
        return self.gain * ((frequency >= self.low) & (frequency < self.high)).to(like.dtype)


# The best of all bands and gains up to 1 for the even previews of MUSDB18, see docs/stems.md.
FOUR_NULLS = {
    "drums": NullBand(0, 250),
    "bass": NullBand(0, 200),
    "other": NullBand(120, 5000),
    "vocals": NullBand(200, 12000),
}


def ideal_ratio_mask(
    vocals: checks.Audio, accompaniment: checks.Audio, geometry: Geometry | None = None
) -> Tensor:
    """Compute the ideal ratio mask (IRM) of magnitudes from the true stems.

    M = |V| / (|V| + |A|), 0 where both are 0 (Narayanan and Wang 2013, with exponent 1). Of the usual
    definitions this is the one that torchprim calls "ideal": it scores 11.1 dB of SD-SDR on 40 previews of
    MUSDB18, where the ratio of powers |V|² / (|V|² + |A|²) scores 12.7 dB.

    Args:
        vocals: `(..., T)`, the true vocals.
        accompaniment: `(..., T)`, the true accompaniment, at the same rate.
        geometry: the grid of the mask; the paper's by default. Both stems are at its sample rate.

    Returns:
        `(..., F, N)` in [0, 1].

    Raises:
        ValueError: for stems that are complex, empty, not finite, or of unequal shapes.

    Example:
        >>> import torch, torchprim as tp
        >>> vocals = torch.randn(44100)
        >>> mask = tp.ideal_ratio_mask(vocals, 3 * vocals)
        >>> mask.shape, round(mask.mean().item(), 4)
        (torch.Size([1025, 87]), 0.25)
    """
    vocals, accompaniment = checks.audio(vocals, "vocals"), checks.audio(accompaniment, "accompaniment")
    checks.same_device(accompaniment, "accompaniment", vocals, "vocals")
    if vocals.shape != accompaniment.shape:
        raise ValueError(
            f"accompaniment must have the shape of vocals {tuple(vocals.shape)}, "
            f"got {tuple(accompaniment.shape)}"
        )
    v, a = stft(vocals, geometry).abs(), stft(accompaniment, geometry).abs()
    total = v + a
    return v / total.masked_fill(total == 0, 1.0)  # v is 0 where the total is


def null_mask(geometry: Geometry | None = None, *, like: Tensor | None = None) -> Tensor:
    """Return the null mask: 0.7 x the mixture above 250 Hz as vocals, whatever the music.

    M(f) = 0.7 where f >= 250 Hz, else 0: a hard cutoff. It scores about 2.3 dB of SD-SDR on MUSDB18
    (mean of both sources), more than several published primitives: a method has to beat it.

    Args:
        geometry: the grid of the mask; the paper's by default.
        like: tensor with the dtype and device of the mask.

    Returns:
        `(F, 1)`, to multiply a spectrogram `(..., F, N)` with.

    Raises:
        ValueError: for a geometry whose rate is below 500 Hz.

    Example:
        >>> import torchprim as tp
        >>> tp.null_mask()[[11, 12], 0]  # 237 Hz and 258 Hz
        tensor([0.0000, 0.7000])
    """
    geometry, like = find_geometry(geometry), checks.like(like)
    return NULL_GAIN * high_pass(geometry.bins, geometry.sample_rate, NULL_CUTOFF, smooth=False, like=like)


def baseline_estimates(
    vocals: checks.Audio, accompaniment: checks.Audio, sample_rate: float
) -> dict[str, tuple[Tensor, Tensor]]:
    """Compute the estimates of the baselines from the true stems, on the paper's grid.

    `mixture`: the mixture as the estimate of both. `null`: see `null_mask`. `ideal mask`: see
    `ideal_ratio_mask`. The accompaniment of the last two is the mixture minus the vocals.

    Args:
        vocals: `(..., T)`, the true vocals.
        accompaniment: `(..., T)`, the true accompaniment.
        sample_rate: in Hz.

    Returns:
        estimates of vocals and of accompaniment, each `(..., T)`, by name.

    Raises:
        ValueError: as `ideal_ratio_mask`.

    Example:
        >>> import torch
        >>> from torchprim.metrics.baselines import baseline_estimates
        >>> vocals, accompaniment = torch.randn(2, 44100)
        >>> estimates = baseline_estimates(vocals, accompaniment, 44100)
        >>> list(estimates), estimates["null"][0].shape
        (['mixture', 'null', 'ideal mask'], torch.Size([44100]))
    """
    geometry = Geometry(sample_rate)
    vocals, accompaniment = checks.audio(vocals, "vocals"), checks.audio(accompaniment, "accompaniment")
    mixture = vocals + accompaniment
    spectrum = stft(mixture, geometry)
    estimates = {"mixture": (mixture, mixture)}
    ideal = ideal_ratio_mask(vocals, accompaniment, geometry)
    for name, mask in (("null", null_mask(geometry, like=ideal)), ("ideal mask", ideal)):
        estimate = istft(mask * spectrum, geometry, mixture.shape[-1])
        estimates[name] = estimate, mixture - estimate
    return estimates


def ideal_ratio_masks(stems: checks.Audio, geometry: Geometry | None = None) -> Tensor:
    """Compute the ideal ratio masks of magnitudes of K sources.

    M_k = |S_k| / sum_j |S_j|, 0 where all are 0: `ideal_ratio_mask` for K sources.

    Args:
        stems: `(..., K, T)`, true.
        geometry: the grid of the masks; the paper's by default. The stems are at its sample rate.

    Returns:
        `(..., K, F, N)` in [0, 1].

    Raises:
        ValueError: for stems that are complex, empty or not finite.

    Example:
        >>> import torch
        >>> from torchprim.metrics.baselines import ideal_ratio_masks
        >>> stem = torch.randn(44100)
        >>> masks = ideal_ratio_masks(torch.stack([stem, 2 * stem, stem]))
        >>> masks.shape, [round(mask.mean().item(), 4) for mask in masks]
        (torch.Size([3, 1025, 87]), [0.25, 0.5, 0.25])
    """
    stems = checks.audio(checks.real(stems, "stems", 2, "(..., K, T)"), "stems")
    # One by one: all complex spectra of a whole song are gigabytes.
    magnitudes = torch.stack([stft(stem, geometry).abs() for stem in stems.unbind(-2)], -3)
    total = magnitudes.sum(-3, keepdim=True)
    return magnitudes / total.masked_fill(total == 0, 1.0)


def stem_baseline(
    name: str, stems: checks.Audio, sample_rate: float, nulls: Sequence[NullBand] = ()
) -> Tensor:
    """Compute the estimates of one baseline for K sources, on the paper's grid.

    Args:
        name: `mixture`: the mixture as the estimate of each; `null`: bands of the mixture; `ideal mask`: see
            `ideal_ratio_masks`.
        stems: `(..., K, T)`, true; the mixture is their sum.
        sample_rate: in Hz.
        nulls: K bands, of the stems in order, such as those of `FOUR_NULLS`; for `null`.

    Returns:
        `(..., K, T)`. Those of `ideal mask` add up to the mixture, those of the others do not.

    Raises:
        ValueError: as `ideal_ratio_masks`; for an unknown name, or another number of nulls.

    Example:
        >>> import torch
        >>> from torchprim.metrics.baselines import FOUR_NULLS, stem_baseline
        >>> stems = torch.randn(4, 44100)
        >>> stem_baseline("null", stems, 44100, list(FOUR_NULLS.values())).shape
        torch.Size([4, 44100])
    """
    stems = checks.audio(checks.real(stems, "stems", 2, "(..., K, T)"), "stems")
    mixture, geometry = stems.sum(-2), Geometry(sample_rate)
    if name == "mixture":
        return mixture.unsqueeze(-2).expand_as(stems)
    if name == "null":
        if len(nulls) != stems.shape[-2]:
            raise ValueError(f"nulls must be {stems.shape[-2]}, one for each stem, got {len(nulls)}")
        masks = [null.mask(geometry, stems) for null in nulls]
    elif name == "ideal mask":
        masks = ideal_ratio_masks(stems, geometry).unbind(-3)
    else:
        raise ValueError(f"name must be mixture, null or ideal mask, got {name!r}")
    spectrum = stft(mixture, geometry)
    return torch.stack([istft(mask * spectrum, geometry, mixture.shape[-1]) for mask in masks], -2)
