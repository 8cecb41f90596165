"""A soft harmonic comb from a pitch track, and a table of the combs of all candidate pitches."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.tables import constant_table
from torchprim.primitives.pitch.grid import PitchGrid


def harmonic_comb(
    f0: Tensor,
    height: Tensor,
    bins: int,
    bin_width: float,
    width: float | Tensor = 32.0,
    n_harmonics: int = 40,
) -> Tensor:
    """Compute a mask that is high near the harmonics of a pitch: height · exp(-d² / 2 width²).

    d is the distance in Hz to the nearest of the harmonics 1 ... n_harmonics.

    Args:
        f0: `(..., N)`, in Hz, above 0.
        height: `(..., N)`, in [0, 1]; 0 where unvoiced.
        bins: F.
        bin_width: distance of two bins in Hz.
        width: standard deviation of a tooth in Hz; a tensor of one number receives a gradient.
        n_harmonics: number of teeth.

    Returns:
        `(..., F, N)`. Gradients flow to f0, height and width; the number of the nearest harmonic is fixed:
        half-way between two of them, where the comb has a kink, it is the upper one's.

    Example:
        >>> import torch
        >>> from torchprim.primitives.pitch.harmonic_comb import harmonic_comb
        >>> comb = harmonic_comb(torch.tensor([200.0]), torch.tensor([1.0]), 5, 100.0)
        >>> [round(x, 3) for x in comb[:, 0].tolist()]
        [0.0, 0.008, 1.0, 0.008, 1.0]
    """
    frequency = torch.arange(bins, dtype=f0.dtype, device=f0.device)[:, None] * bin_width
    f0 = f0[..., None, :]
    nearest = torch.floor(frequency / f0.detach() + 0.5).clamp(1, n_harmonics)
    return height[..., None, :] * torch.exp(-0.5 * ((frequency - nearest * f0) / width).square())


def comb_table(grid: PitchGrid, width: float | Tensor, like: Tensor) -> Tensor:
    """Compute the combs of all candidate pitches, `(F, P)`; cached where the width is a number."""
    if not isinstance(width, Tensor):
        settings = grid.bins, grid.bin_width, grid.f_min, grid.f_max, width
        return _comb_table(*settings, like.dtype, like.device)[0]
    pitches = grid.frequencies(like)
    return harmonic_comb(pitches, torch.ones_like(pitches), grid.bins, grid.bin_width, width.reshape(()))


@constant_table
def _comb_table(
    bins: int,
    bin_width: float,
    f_min: float,
    f_max: float,
    width: float,
    dtype: torch.dtype,
    device: torch.device,
) -> list[Tensor]:
    pitches = PitchGrid(bins, bin_width, f_min, f_max).frequencies(torch.empty(0, dtype=dtype))
    return [harmonic_comb(pitches, torch.ones_like(pitches), bins, bin_width, width).to(device)]
