"""SD-SDR as a training loss of masks, computed on spectra."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchprim.losses.grams import divisor
from torchprim.losses.masking import masked_mixture, masked_mixtures

_ERROR_FLOOR = 1e-4  # of the mixture's power: an error 40 dB below it is as good as none
_SCALE_FLOOR = 0.03  # an estimate 30 dB too quiet is as bad as none


def sd_sdr_loss(mask: Tensor, mixture: Tensor, vocals: Tensor, accompaniment: Tensor) -> Tensor:
    """Compute the negative mean SD-SDR of both sources (Le Roux et al. 2019), in units of 100 dB.

    SD-SDR = 10 log10(|s|² / |s - e|²) + 20 log10 α with e the masked mixture and α = <s, e> / |s|². With
    `phase_sensitive` targets the inner products over bins are those of the complex spectra, up to the part
    that no mask can reach. Both logarithms have a floor. A distance of magnitudes weighs the loudest items
    most, and leaves an uncertain source too quiet; here items count by their dB, and a source that is too
    quiet costs as much as in the metric.

    Args:
        mask: `(B, F, N)` in [0, 1], 1 = vocals.
        mixture: `(B, F, N)`, magnitude.
        vocals: `(B, F, N)`, magnitude or phase-sensitive target.
        accompaniment: `(B, F, N)`, likewise.

    Returns:
        The mean over the batch, a scalar; -0.1 for 10 dB. A silent source counts as 0.

    Raises:
        ValueError: for a mask that is not real and floating point, or shapes that do not fit.

    Example:
        >>> import torch
        >>> from torchprim.losses.sd_sdr import sd_sdr_loss
        >>> v, a = torch.rand(2, 65, 40), torch.rand(2, 65, 40)
        >>> bool(sd_sdr_loss(v / (v + a), v + a, v, a) < sd_sdr_loss(v / (v + 2 * a), v + a, v, a))
        True
    """
    masked = masked_mixture(mask, mixture, vocals, accompaniment)
    floor = _ERROR_FLOOR * _inner(mixture, mixture)
    both = _decibels(vocals, masked, floor) + _decibels(accompaniment, mixture - masked, floor)
    return -both.mean() / 200


def stem_sd_sdr_loss(masks: Tensor, mixture: Tensor, sources: Sequence[Tensor]) -> Tensor:
    """Compute the negative mean SD-SDR of K sources, as `sd_sdr_loss`, in units of 100 dB.

    Two masks that add up to 1 have the `sd_sdr_loss` of the second.

    Args:
        masks: `(B, K, F, N)` in [0, 1].
        mixture: `(B, F, N)`, magnitude.
        sources: K targets `(B, F, N)` in the order of the masks, magnitudes or phase-sensitive.

    Returns:
        The mean over the batch, a scalar; -0.1 for 10 dB. A silent source counts as 0.

    Raises:
        ValueError: for masks that are not real and floating point, or numbers or shapes that do not fit.

    Example:
        >>> import torch
        >>> from torchprim.losses.sd_sdr import stem_sd_sdr_loss
        >>> sources = torch.rand(4, 2, 65, 40)
        >>> masks, mixture = (sources / sources.sum(0)).transpose(0, 1), sources.sum(0)
        >>> ideal, equal = (stem_sd_sdr_loss(m, mixture, list(sources)) for m in (masks, 0 * masks + 0.25))
        >>> bool(ideal < equal)
        True
    """
    masked = masked_mixtures(masks, mixture, sources)
    floor = _ERROR_FLOOR * _inner(mixture, mixture)
    pairs = zip(sources, masked, strict=True)
    return -sum(_decibels(source, estimate, floor) for source, estimate in pairs).mean() / (100 * len(masked))


def _decibels(source: Tensor, estimate: Tensor, floor: Tensor) -> Tensor:
    """Compute the SD-SDR of each item, 0 for a silent source."""
    power = _inner(source, source)
    audible = power > 0
    norm = divisor(power)
    error = (_inner(source - estimate, source - estimate) + floor) / norm
    scale = _inner(source, estimate) / norm
    level = 20 * torch.log10(scale.clamp(min=0) + _SCALE_FLOOR)
    return torch.where(audible, level - 10 * torch.log10(torch.where(audible, error, 1)), 0)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Compute the inner product over the bins of each item."""
    return (a * b).sum((-2, -1))
