"""Baselines of the tables of results: the ideal ratio mask above, the null mask below."""

from __future__ import annotations

from torch import Tensor

from torchprim import checks
from torchprim.spectra.high_pass import high_pass
from torchprim.spectra.stft import Geometry, find_geometry, istft, stft

NULL_GAIN = 0.7
NULL_CUTOFF = 250.0  # Hz


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
