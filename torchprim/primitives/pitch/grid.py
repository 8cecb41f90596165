"""Grid of candidate pitches, the counterpart of `Geometry` for the STFT."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torchprim import checks

CENTS = 10  # spacing of the candidate pitches
HARMONICS = 20  # per pitch, in both saliences
_LOWEST = 1.0  # Hz, of any pitch
_MAX_PEAK = 4500.0  # Hz, highest spectral peak of the harmonic summation
_MAX_COMB = 8000.0  # Hz, highest frequency of the combs


def check_range(f_min: float, f_max: float, sample_rate: float) -> None:
    """Check a pitch range.

    Raises:
        ValueError: for a range that is empty, begins below 1 Hz (each octave costs memory and time), or does
            not end below half the sample rate.
    """
    checks.number(f_min, "f_min")
    checks.number(f_max, "f_max")
    if not _LOWEST <= f_min < f_max < sample_rate / 2:
        raise ValueError(
            f"f_min and f_max must satisfy {_LOWEST:g} <= f_min < f_max < {sample_rate / 2} Hz, half the "
            f"sample rate, got {f_min!r} and {f_max!r}"
        )


@dataclass(frozen=True)
class PitchGrid:
    """Candidate pitches, every 10 cents from `f_min` to `f_max`, and the bins of the spectrogram.

    Args:
        bins: F, number of bins of the spectrogram.
        bin_width: spacing of the bins in Hz.
        f_min: lowest pitch in Hz.
        f_max: highest pitch in Hz; the last candidate is at most 10 cents below.

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
        """Number of candidate pitches P."""
        return int(_cents(self.f_max / self.f_min) / CENTS + 1e-6) + 1

    def frequencies(self, like: Tensor | None = None) -> Tensor:
        """Return the candidate pitches in Hz, `(P,)`, in the dtype and on the device of `like`."""
        like = torch.empty(0) if like is None else like
        index = torch.arange(self.pitches, dtype=like.dtype, device=like.device)
        return self.f_min * 2 ** (index * CENTS / 1200)

    @property
    def peak_bins(self) -> int:
        """Number of bins, from 0 Hz, in which spectral peaks are searched: up to 4.5 kHz."""
        return min(self.bins, int(_MAX_PEAK / self.bin_width) + 2)

    @property
    def peak_pitches(self) -> int:
        """Length of the log-frequency axis onto which peaks are scattered: every 10 cents up to 4.5 kHz."""
        return int(_cents(_MAX_PEAK / self.f_min) / CENTS) + 1

    @property
    def comb_bins(self) -> int:
        """Number of bins, from 0 Hz, that the combs cover: up to 8 kHz."""
        return min(self.bins, int(_MAX_COMB / self.bin_width) + 2)


def _cents(ratio: float) -> float:
    """Convert a ratio of frequencies to cents."""
    return 1200 * math.log2(ratio)
