"""Random equaliser: a smooth gain curve over log frequency, for data augmentation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchprim.kernels.tables import constant_table

POINTS = 8  # control points of a curve, evenly spaced in log frequency
_OCTAVES = 9  # below the Nyquist frequency; below the lowest point its gain is held


def equalise(audio: Tensor, gains: Tensor) -> Tensor:
    """Filter each signal by a gain curve: cosine interpolation between the gains at 8 frequencies.

    Args:
        audio: `(..., T)`.
        gains: `(..., 8)` in dB, on the same device, with leading dimensions that broadcast; from 9 octaves
            below the Nyquist frequency up to it.

    Returns:
        `(..., T)`.

    Example:
        >>> import torch
        >>> from torchprim.bootstrap.equaliser import equalise
        >>> audio = torch.randn(2, 4096)
        >>> louder = equalise(audio, torch.full((2, 8), 20.0))
        >>> torch.allclose(louder, 10 * audio, atol=1e-4)
        True
    """
    spectrum = torch.fft.rfft(audio)
    (interpolation,) = _interpolation(spectrum.shape[-1], audio.device)
    amplitude = torch.exp(gains.reshape(-1, POINTS) @ interpolation).view(*gains.shape[:-1], -1)
    return torch.fft.irfft(spectrum * amplitude, n=audio.shape[-1])


@constant_table
def _interpolation(bins: int, device: torch.device) -> list[Tensor]:
    """Return the matrix `(8, bins)` from gains in dB to the logarithm of the amplitude in each bin."""
    octaves = torch.linspace(0, 1, bins, device=device).clamp(min=1e-4).log2()
    position = ((octaves / _OCTAVES + 1).clamp(0, 1) * (POINTS - 1)).clamp(max=POINTS - 1 - 1e-4)
    distance = (position - torch.arange(POINTS, device=device)[:, None]).abs().clamp(max=1)
    return [math.log(10) / 20 * (1 + torch.cos(math.pi * distance)) / 2]
