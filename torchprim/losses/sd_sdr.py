"""The metric itself as a loss of masks: SD-SDR, on spectra."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim import checks

_CEILING = 1e-4  # of the mixture's power: errors 40 dB below it are as good as none
_LEAST_SCALE = 0.03  # an estimate 30 dB too quiet is as bad as none


def distortion_loss(mask: Tensor, mixture: Tensor, vocals: Tensor, accompaniment: Tensor) -> Tensor:
    """SD-SDR of both sources, their mean over -100 (Le Roux et al. 2019), with a mask on magnitudes.

    SD-SDR = 10 log10(|s|² / |s - e|²) + 20 log10 α with e the masked mixture and α = <s, e> / |s|². With
    `phase_sensitive` targets the sums over bins are those of the complex spectra, but for what no mask can
    reach. A distance of magnitudes minds the loudest items most, and leaves a source that is uncertain too
    quiet; here every item counts by its dB, and what is too quiet costs what it costs in the metric.

    Args:
        mask: `(B, F, N)` in [0, 1], 1 = vocals.
        mixture: `(B, F, N)`, magnitude.
        vocals: `(B, F, N)`, magnitude or phase-sensitive target.
        accompaniment: `(B, F, N)`, likewise.

    Returns:
        The mean over the batch, a scalar; -0.1 for 10 dB. A source that is silent counts 0.

    Raises:
        ValueError: for shapes that do not fit.

    Example:
        >>> import torch
        >>> from torchprim.losses.sd_sdr import distortion_loss
        >>> v, a = torch.rand(2, 65, 40), torch.rand(2, 65, 40)
        >>> bool(distortion_loss(v / (v + a), v + a, v, a) < distortion_loss(v / (v + 2 * a), v + a, v, a))
        True
    """
    mask = checks.real(mask, "mask", 3, "(B, F, N)")
    for name, value in (("mixture", mixture), ("vocals", vocals), ("accompaniment", accompaniment)):
        if value.shape != mask.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}, the mask {tuple(mask.shape)}")
    masked = mask * mixture
    floor = _CEILING * _power(mixture, mixture)

    def decibels(source: Tensor, estimate: Tensor) -> Tensor:
        power = _power(source, source)
        sounds = power > 0
        divisor = torch.where(sounds, power, 1)
        error = (_power(source - estimate, source - estimate) + floor) / divisor
        scale = _power(source, estimate) / divisor
        ratio = 20 * torch.log10(scale.clamp(min=0) + _LEAST_SCALE) - 10 * torch.log10(
            torch.where(sounds, error, 1)
        )
        return torch.where(sounds, ratio, 0)

    both = decibels(vocals, masked) + decibels(accompaniment, mixture - masked)
    return -both.mean() / 200


def _power(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1))
