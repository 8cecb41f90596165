"""The grid of candidate pitches as one value, as `Geometry` is that of the STFT."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CENTS = 10  # between neighbouring candidate pitches
HARMONICS = 20  # that a pitch is judged by
_HIGHEST_PEAK = 4500.0  # Hz
_HIGHEST_COMB = 8000.0  # Hz


def check_range(f_min: float, f_max: float, sample_rate: float) -> None:
    """Check a pitch range.

    Raises:
        ValueError: where it is upside down, or not below half the sample rate.
    """
    if not 0 < f_min < f_max < sample_rate / 2:
        raise ValueError(
            f"f_min and f_max must satisfy 0 < f_min < f_max < {sample_rate / 2} Hz, half the sample rate, "
            f"got {f_min!r} and {f_max!r}"
        )


@dataclass(frozen=True)
class PitchGrid:
    """Candidate pitches, 10 cents apart from `f_min` to `f_max`, over the bins of a spectrogram.

    Args:
        bins: F, of the spectrogram.
        bin_width: distance of two bins in Hz.
        f_min: lowest pitch in Hz.
        f_max: highest pitch in Hz.

    Example:
        >>> from torchprim.primitives.pitch.grid import PitchGrid
        >>> grid = PitchGrid(1025, 44100 / 2048)
        >>> grid.pitches, grid.comb_bins, round(grid.frequencies()[-1].item(), 1)
        (454, 373, 1095.2)
    """

    bins: int
    bin_width: float
    f_min: float = 80.0
    f_max: float = 1100.0

    @property
    def pitches(self) -> int:
        """Number of pitches P."""
        return int(_cents(self.f_max / self.f_min) / CENTS + 1e-6) + 1

    def frequencies(self, like: Tensor | None = None) -> Tensor:
        """The pitches in Hz, `(P,)`, in the precision and on the device of `like`."""
        like = torch.empty(0) if like is None else like
        steps = torch.arange(self.pitches, dtype=like.dtype, device=like.device)
        return self.f_min * 2 ** (steps * CENTS / 1200)

    @property
    def peak_bins(self) -> int:
        """Number of the lowest bins in which spectral peaks are searched: up to 4.5 kHz."""
        return min(self.bins, int(_HIGHEST_PEAK / self.bin_width) + 2)

    @property
    def peak_places(self) -> int:
        """Length of the logarithmic axis of peaks, 10 cents a place from `f_min` to 4.5 kHz."""
        return int(_cents(_HIGHEST_PEAK / self.f_min) / CENTS) + 1

    @property
    def comb_bins(self) -> int:
        """Number of the lowest bins that the combs read: up to 8 kHz."""
        return min(self.bins, int(_HIGHEST_COMB / self.bin_width) + 2)


def _cents(ratio: float) -> float:
    return 1200 * math.log2(ratio)
