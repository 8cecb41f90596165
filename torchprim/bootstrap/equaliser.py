"""Random equaliser: a smooth gain curve over log frequency, for data augmentation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_POINTS = 8  # control points of a curve, evenly spaced in log frequency
_OCTAVES = 9  # below the Nyquist frequency; below the lowest point its gain is held


def equalise(audio: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Filter each item by a random gain curve: cosine interpolation between normal gains at 8 frequencies.

    Args:
        audio: `(B, T)`.
        deviation: standard deviation of the gains in dB.
        generator: of the gains, on the CPU.

    Returns:
        `(B, T)`.

    Example:
        >>> import torch
        >>> from torchprim.bootstrap.equaliser import equalise
        >>> audio = torch.randn(2, 4096)
        >>> torch.allclose(equalise(audio, 0.0, torch.Generator()), audio, atol=1e-5)
        True
    """
    gains = deviation * torch.randn(len(audio), 1, _POINTS, generator=generator)
    spectrum = torch.fft.rfft(audio)
    octaves = torch.linspace(0, 1, spectrum.shape[-1], device=audio.device).clamp(min=1e-4).log2()
    position = ((octaves / _OCTAVES + 1).clamp(0, 1) * (_POINTS - 1)).clamp(max=_POINTS - 1 - 1e-4)
    low = position.floor().long()
    blend = (1 - torch.cos(math.pi * (position - low))) / 2
    gains = gains[:, 0].to(audio.device, non_blocking=True)
    curve = gains[:, low] * (1 - blend) + gains[:, low + 1] * blend  # (B, bins), dB
    return torch.fft.irfft(spectrum * 10 ** (curve / 20), n=audio.shape[-1])
