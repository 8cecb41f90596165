"""Reference implementations of operators and primitives by their definitions, and test signals."""

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
    """Synthesise a sung vowel: 20 harmonics with a formant, vibrato of 5.5 Hz."""
    t = torch.arange(int(seconds * rate)) / rate
    phase = 2 * math.pi * torch.cumsum(f0 * (1 + vibrato * torch.sin(2 * math.pi * 5.5 * t)) / rate, 0)
    gain = [math.exp(-(((h * f0 - 700) / 900) ** 2)) + 0.1 / h for h in range(1, 21)]
    return sum(g * torch.sin(h * phase) for h, g in enumerate(gain, 1) if h * f0 < rate / 2) * 0.1


def spectrogram(*shape, seed=0):
    """Return noise with a spectral tilt, one frame and one bin of it silent: `(..., F, N)`."""
    magnitude = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    magnitude = magnitude / (1 + torch.arange(shape[-2]))[:, None]
    magnitude[..., shape[-2] // 2, :] = 0
    magnitude[..., shape[-1] // 2] = 0
    return magnitude


def peaks_by_definition(magnitude, neighbourhood):
    """Compute the peak map P over the whole plane in NumPy: magnitude spectrogram `(F, N)` -> `(F, N)`."""
    m = np.abs(np.fft.fft2(magnitude))
    m /= m.max()
    scales, rates = (size // 2 for size in neighbourhood)
    neighbours = np.stack(
        [np.roll(m, (i, j), (0, 1)) for i in range(-scales, scales + 1) for j in range(-rates, rates + 1)]
    )
    highest = neighbours.max(0)
    scores = (highest - neighbours.mean(0)) / (neighbours.std(0) + 1e-7)
    peaks = np.where(m >= highest * (1 - 1e-12), scores, 0)
    peaks /= peaks.max()
    return np.maximum(peaks, np.roll(peaks[::-1, ::-1], (1, 1), (0, 1)))


def scores(*shape, seed=0, dtype=torch.float64):
    """Return random emissions `(..., S, N)`."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2


def costs(pitches, rest, band, slope, jump, switch):
    """Compute the transition costs from state (row) to state (column) by the definition."""
    table = torch.empty(pitches + rest, pitches + rest, dtype=torch.float64)
    for i, j in itertools.product(range(pitches), repeat=2):
        table[i, j] = min(slope * abs(i - j), jump) if abs(i - j) <= band else jump
    if rest:
        table[pitches], table[:, pitches], table[pitches, pitches] = switch, switch, 0
    return table


def total(path, emission, table):
    """Compute the score of one path `(N,)` through emissions `(S, N)`."""
    emitted = emission[path, torch.arange(len(path))].sum()
    return emitted - table[path[:-1], path[1:]].sum()


def tone(hertz, seconds, rate=44100):
    """Synthesise a sinusoid of amplitude 0.5."""
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * rate)) / rate)


def harmonic_sum(magnitude, grid):
    """Compute the salience S1, harmonic summation, step by step."""
    weighted = _a_weighted(magnitude[..., : grid.peak_bins, :], grid)
    matrix = summation(grid, weighted)
    total = banded_product(matrix, peak_axis(weighted, None, grid.bin_width / grid.f_min, matrix.depth))
    return (total - OFF_MEDIAN * row_median(total)[..., None]).clamp(min=0)


def comb_salience(magnitude, grid):
    """Compute the salience S2, inhibiting combs, step by step."""
    weighted = _a_weighted(magnitude[..., : grid.comb_bins, :], grid)
    product = banded_product(inhibition(grid, weighted), comb_level(weighted, None))
    return mean_over_frames(product.clamp(min=0), REACH)


def _a_weighted(magnitude, grid):
    return magnitude * bin_a_weighting(magnitude.shape[-2], grid.bin_width, magnitude)[:, None]
