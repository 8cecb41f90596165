"""Input features of networks: level-invariant log magnitude, and a mel filter bank."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchprim import checks

# Mean and standard deviation in nepers of the log magnitude of music over its RMS, at 44.1 kHz.
_CENTRE, _SPREAD = -5.0, 3.0
# 80 dB below the RMS; what is quieter comes from dither and codecs.
_FLOOR = 1e-4


def log_features(magnitude: Tensor, level: Tensor | None = None) -> Tensor:
    """Compute the standardised log magnitude over the RMS of each item: (ln(A / rms + 1e-4) + 5) / 3.

    The RMS is over all bins and frames of one item, so that neither the level of a recording nor the rest
    of the batch change the features.

    Args:
        magnitude: `(..., F, N)`.
        level: `(..., 1, 1)`, in place of the RMS of `magnitude`.

    Returns:
        `(..., F, N)`, about zero mean and unit variance for music; float32 or float64.

    Raises:
        ValueError: for a magnitude that is complex or of too few dimensions.

    Example:
        >>> import torch
        >>> from torchprim.networks.features import log_features
        >>> a = torch.rand(2, 65, 40)
        >>> torch.equal(log_features(a), log_features(a / 1024))
        True
    """
    magnitude = checks.real(magnitude, "magnitude", 2, "(..., F, N)")
    level = root_mean_square(magnitude) if level is None else level
    return (torch.log(magnitude / level + _FLOOR) - _CENTRE) / _SPREAD


def check_input(magnitude: Tensor, bins: int, weight: Tensor) -> None:
    """Check the input of a network: `(B, F, N)` with the network's bins, in the precision of its weights.

    Raises:
        ValueError: for another shape, no frames, or float64 where the weights are not, and vice versa.
    """
    magnitude = checks.floating(magnitude, "magnitude", 3, "(B, F, N)")
    if magnitude.dim() != 3 or magnitude.shape[1] != bins:
        raise ValueError(f"magnitude must have shape (B, {bins}, N), got {tuple(magnitude.shape)}")
    if (magnitude.dtype == torch.float64) != (weight.dtype == torch.float64):
        raise ValueError(f"magnitude must be of the weights' {weight.dtype}, got {magnitude.dtype}")


def root_mean_square(magnitude: Tensor) -> Tensor:
    """Compute the RMS of each item over bins and frames; 1 for silence, so that it can divide.

    Args:
        magnitude: `(..., F, N)`.

    Returns:
        `(..., 1, 1)`.

    Example:
        >>> import torch
        >>> from torchprim.networks.features import root_mean_square
        >>> root_mean_square(torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]]])).flatten() ** 2
        tensor([12.5000,  1.0000])
    """
    peak = magnitude.detach().amax((-2, -1), keepdim=True)
    # Normalised by the peak first: squares of a quiet recording would underflow.
    peak = torch.where(peak > 0, peak, 1)
    square = (magnitude / peak).square().mean((-2, -1), keepdim=True)
    return peak * torch.where(square > 0, square, 1).sqrt()


def mel_filter_bank(bands: int, bins: int, sample_rate: float, *, like: Tensor | None = None) -> Tensor:
    """Compute triangular filters equally spaced in mel, each of sum 1.

    mel = 2595 log10(1 + f / 700) (O'Shaughnessy 1987; the formula of HTK). A slope narrower than a bin is
    widened to one bin, so that no band is empty: of 300 bands at 44.1 kHz the lowest lie closer together
    than the bins.

    Args:
        bands: number of filters.
        bins: F, from 0 Hz to half the sample rate.
        sample_rate: in Hz.
        like: tensor of the result's dtype and device.

    Returns:
        `(bands, F)`.

    Raises:
        ValueError: for fewer than one band or two bins, or a sample rate that is not positive.

    Example:
        >>> from torchprim.networks.features import mel_filter_bank
        >>> bank = mel_filter_bank(300, 1025, 44100)
        >>> bank.shape, bool((bank.sum(1) - 1).abs().max() < 1e-5)
        (torch.Size([300, 1025]), True)
    """
    checks.integer(bands, "bands", 1)
    checks.integer(bins, "bins", 2)
    checks.positive(sample_rate, "sample_rate")
    like = torch.empty(0) if like is None else like
    nyquist = sample_rate / 2
    top = 2595 * math.log10(1 + nyquist / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2, dtype=torch.float64) / 2595) - 1)
    frequency = torch.linspace(0, nyquist, bins, dtype=torch.float64)
    width = nyquist / (bins - 1)
    centre = edges[1:-1, None]
    rise = (centre - edges[:-2, None]).clamp(min=width)
    fall = (edges[2:, None] - centre).clamp(min=width)
    offset = frequency - centre  # (bands, F)
    bank = (1 - torch.where(offset < 0, -offset / rise, offset / fall)).clamp(min=0)
    return (bank / bank.sum(1, keepdim=True)).to(dtype=like.dtype, device=like.device)
