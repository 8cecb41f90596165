"""A soft harmonic comb from a pitch track."""

from __future__ import annotations

import torch
from torch import Tensor


def harmonic_comb(
    f0: Tensor,
    height: Tensor,
    bins: int,
    bin_width: float,
    width: float = 32.0,
    n_harmonics: int = 40,
) -> Tensor:
    """Mask that is high near the harmonics of a pitch: height · exp(-d² / 2 width²).

    d is the distance in Hz to the nearest of the harmonics 1 ... n_harmonics.

    Args:
        f0: `(..., N)`, in Hz, above 0.
        height: `(..., N)`, in [0, 1]; 0 where there is no voice.
        bins: F.
        bin_width: distance of two bins in Hz.
        width: standard deviation of a tooth in Hz.
        n_harmonics: number of teeth.

    Returns:
        `(..., F, N)`.
    """
    frequency = torch.arange(bins, dtype=f0.dtype, device=f0.device)[:, None] * bin_width
    f0 = f0[..., None, :]
    nearest = (frequency / f0).detach().round().clamp(1, n_harmonics)
    distance = (frequency - nearest * f0) / width
    return height[..., None, :] * torch.exp(-0.5 * distance.square())
