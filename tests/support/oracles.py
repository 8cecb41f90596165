"""Definitions written out, which operators and primitives are compared with, and the signals for it."""

import itertools
import math

import numpy as np
import torch

from torchprim.kernels.salience.banded_product import banded_product
from torchprim.kernels.salience.row_median import row_median
from torchprim.kernels.salience.salience_inputs import comb_level, peak_axis
from torchprim.kernels.salience.salience_mix import OFF_MEDIAN, REACH, mean_over_frames
from torchprim.primitives.pitch.salience import bin_a_weighting, inhibition, summation


def voice(f0, seconds=2.0, rate=44100, vibrato=0.01):
    """A sung vowel: 20 harmonics with a formant, vibrato of 5.5 Hz."""
    t = torch.arange(int(seconds * rate)) / rate
    phase = 2 * math.pi * torch.cumsum(f0 * (1 + vibrato * torch.sin(2 * math.pi * 5.5 * t)) / rate, 0)
    gain = [math.exp(-(((h * f0 - 700) / 900) ** 2)) + 0.1 / h for h in range(1, 21)]
    return sum(g * torch.sin(h * phase) for h, g in enumerate(gain, 1) if h * f0 < rate / 2) * 0.1


def spectrogram(*shape, seed=0):
    """Noise with a spectral tilt and one silent frame and bin: (..., F, N)."""
    magnitude = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    magnitude = magnitude / (1 + torch.arange(shape[-2]))[:, None]
    magnitude[..., shape[-2] // 2, :] = 0
    magnitude[..., shape[-1] // 2] = 0
    return magnitude


def peaks_by_definition(magnitude, neighbourhood):
    """P over the whole plane, in NumPy: (F, N) magnitude spectrogram -> (F, N)."""
    m = np.abs(np.fft.fft2(magnitude))
    m /= m.max()
    scales, rates = (size // 2 for size in neighbourhood)
    around = np.stack(
        [np.roll(m, (i, j), (0, 1)) for i in range(-scales, scales + 1) for j in range(-rates, rates + 1)]
    )
    highest = around.max(0)
    peaks = np.where(m >= highest * (1 - 1e-12), (highest - around.mean(0)) / (around.std(0) + 1e-7), 0)
    peaks /= peaks.max()
    return np.maximum(peaks, np.roll(peaks[::-1, ::-1], (1, 1), (0, 1)))


def scores(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2


def costs(pitches, rest, band, slope, jump, switch):
    """The cost of every step from row to column, straight from the definition."""
    table = torch.empty(pitches + rest, pitches + rest, dtype=torch.float64)
    for i, j in itertools.product(range(pitches), repeat=2):
        table[i, j] = min(slope * abs(i - j), jump) if abs(i - j) <= band else jump
    if rest:
        table[pitches], table[:, pitches], table[pitches, pitches] = switch, switch, 0
    return table


def total(path, emission, table):
    """The score of one path `(N,)` through emissions `(S, N)`."""
    kept = emission[path, torch.arange(len(path))].sum()
    return kept - table[path[:-1], path[1:]].sum()


def tone(hertz, seconds, rate=44100):
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * rate)) / rate)


def harmonic_sum(magnitude, grid):
    """The first of the two saliences, one step after the other."""
    heard = magnitude[..., : grid.peak_bins, :]
    heard = heard * bin_a_weighting(heard.shape[-2], grid.bin_width, heard)[:, None]
    matrix = summation(grid, heard)
    total = banded_product(matrix, peak_axis(heard, None, grid.bin_width / grid.f_min, matrix.depth))
    return (total - OFF_MEDIAN * row_median(total)[..., None]).clamp(min=0)


def comb_salience(magnitude, grid):
    """The second one."""
    heard = magnitude[..., : grid.comb_bins, :]
    heard = heard * bin_a_weighting(heard.shape[-2], grid.bin_width, heard)[:, None]
    return mean_over_frames(
        banded_product(inhibition(grid, heard), comb_level(heard, None)).clamp(min=0), REACH
    )
