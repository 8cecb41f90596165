"""Pitch salience: strength of each candidate pitch in each frame, from harmonic sums and combs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchprim.kernels.salience.banded_product import Banded, banded, banded_product
from torchprim.kernels.salience.row_median import row_median
from torchprim.kernels.salience.salience_inputs import salience_inputs
from torchprim.kernels.salience.salience_mix import salience_mix
from torchprim.kernels.tables import constant_table
from torchprim.primitives.pitch.grid import CENTS, HARMONICS, PitchGrid


def log_salience(
    magnitude: Tensor,
    grid: PitchGrid,
    weight: Tensor | None = None,
    sharpness: float = 1.0,
    scale: Tensor | None = None,
) -> Tensor:
    """Compute `sharpness` times the logarithm of a pitch salience S = S1^(4/7) S2^(3/7).

    S1, harmonic summation of spectral peaks (Salamon and Gómez 2012): S1[f] = sum over h = 1 ... 20 of
    0.9^(h-1) · sum over peaks at p of a_p^1.1 · g(p, h f), with g = cos² up to one semitone. Peaks lie below
    4.5 kHz and within 40 dB of their frame's strongest, after A-weighting; 0.3 times the median over time of
    each pitch is subtracted.

    S2, combs that are negative at half harmonics: S2 = relu(K (E A)^0.5), averaged over 5 frames; row f of K
    is the sum over h of 0.9^(h-1) (W(k - h f / D) - 0.3 (W(k - (h - 1/2) f / D) + W(k - (h + 1/2) f / D))),
    W the main lobe of the Hann window's transform, D the bin width, E A-weighting. A pitch an octave too low
    has no energy at its odd harmonics, one an octave too high is inhibited.

    Each is divided by the mean over frames of the frames' maxima, and 0.03 is added. Their errors differ: S1
    makes octave errors, S2 is misled by noise. Magnitude and weight are read once, for both.

    Args:
        magnitude: `(..., K, N)`, at least the lowest `grid.comb_bins` bins.
        grid: the candidate pitches.
        weight: `(..., K, N)` in [0, 1], a vocals mask that weights the spectrum by its fourth root.
        sharpness: factor of the logarithm.
        scale: `(...)`, factor of the magnitude, after which the loudest bin is near 1; None for 1.

    Returns:
        `(..., P, N)`.

    Example:
        >>> import torch
        >>> from torchprim.primitives.pitch.grid import PitchGrid
        >>> from torchprim.primitives.pitch.salience import log_salience
        >>> log_salience(torch.rand(1025, 40), PitchGrid(1025, 44100 / 2048)).shape
        torch.Size([454, 40])
    """
    bins = grid.comb_bins
    magnitude = magnitude[..., :bins, :]
    weight = None if weight is None else weight[..., :bins, :]
    peak_matrix = summation(grid, magnitude)
    gain = bin_a_weighting(bins, grid.bin_width, magnitude)
    ratio = grid.bin_width / grid.f_min
    axis, level = salience_inputs(magnitude, gain, weight, ratio, grid.peak_bins, peak_matrix.depth, scale)
    harmonic_sum = banded_product(peak_matrix, axis)
    combs = banded_product(inhibition(grid, magnitude), level)
    return salience_mix(harmonic_sum, row_median(harmonic_sum), combs, sharpness * 4 / 7, sharpness * 3 / 7)


def a_weighting(frequency: Tensor) -> Tensor:
    """Return the A-weighting of frequencies in Hz as a gain (IEC 61672)."""
    f2 = frequency.square()
    low = (f2 + 20.6**2) * ((f2 + 107.7**2) * (f2 + 737.9**2)).sqrt()
    return 1.2589 * 12194**2 * f2.square() / (low * (f2 + 12194**2))


def bin_a_weighting(bins: int, bin_width: float, like: Tensor) -> Tensor:
    """Return the A-weighting of each bin of a spectrogram as a gain, `(F,)`."""
    return _bin_a_weighting(bins, bin_width, like.dtype, like.device)[0]


@constant_table
def _bin_a_weighting(bins: int, bin_width: float, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    return [a_weighting(torch.arange(bins, dtype=dtype) * bin_width).to(device)]


def summation(grid: PitchGrid, like: Tensor) -> Banded:
    """Return the matrix of harmonic summation, `(grid.pitches, grid.peak_pitches)`."""
    size = grid.pitches, grid.peak_pitches
    return Banded(*_summation(*size, like.dtype, like.device), *size)


@constant_table
def _summation(pitches: int, peak_pitches: int, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    column = torch.arange(peak_pitches, dtype=torch.float64)
    distance = column - torch.arange(pitches, dtype=torch.float64)[:, None]
    matrix = torch.zeros(pitches, peak_pitches, dtype=torch.float64)
    for h in range(1, HARMONICS + 1):
        semitones = (distance - 1200 * math.log2(h) / CENTS).abs() * CENTS / 100
        spread = torch.cos(math.pi / 2 * semitones).square()
        matrix += 0.9 ** (h - 1) * torch.where(semitones < 1, spread, 0.0)  # cos(pi / 2) is not quite 0
    return list(banded(matrix.to(dtype), device)[:4])


def inhibiting_combs(grid: PitchGrid, like: Tensor) -> Tensor:
    """Return combs `(grid.comb_bins, P)`, negative at half harmonics; positive entries of one sum to 1."""
    return _dense_combs(grid.comb_bins, grid.bin_width, grid.f_min, grid.f_max, like.dtype, like.device)[0]


def inhibition(grid: PitchGrid, like: Tensor) -> Banded:
    """Return `inhibiting_combs`, a comb a row, as a banded matrix for `banded_product`."""
    settings = grid.comb_bins, grid.bin_width, grid.f_min, grid.f_max
    return Banded(*_banded_combs(*settings, like.dtype, like.device), grid.pitches, grid.comb_bins)


@constant_table
def _dense_combs(
    bins: int, bin_width: float, f_min: float, f_max: float, dtype: torch.dtype, device: torch.device
) -> list[Tensor]:
    return [_combs(PitchGrid(bins, bin_width, f_min, f_max)).t().to(dtype).to(device).contiguous()]


@constant_table
def _banded_combs(
    bins: int, bin_width: float, f_min: float, f_max: float, dtype: torch.dtype, device: torch.device
) -> list[Tensor]:
    return list(banded(_combs(PitchGrid(bins, bin_width, f_min, f_max)).to(dtype), device)[:4])


def _combs(grid: PitchGrid) -> Tensor:
    """Compute the combs in float64, `(P, grid.bins)`."""
    pitch = grid.frequencies(torch.empty(0, dtype=torch.float64))[:, None] / grid.bin_width
    index = torch.arange(grid.bins, dtype=torch.float64)
    comb = torch.zeros(len(pitch), grid.bins, dtype=torch.float64)
    for h in range(1, HARMONICS + 1):
        half_harmonics = _main_lobe(index - (h - 0.5) * pitch) + _main_lobe(index - (h + 0.5) * pitch)
        comb += 0.9 ** (h - 1) * (_main_lobe(index - h * pitch) - 0.3 * half_harmonics)
    total = comb.clamp(min=0).sum(-1, keepdim=True)
    return comb / torch.where(total > 0, total, 1.0)


def _main_lobe(offset: Tensor) -> Tensor:
    """Compute the main lobe of the Hann window's transform at offsets in bins; 1 at 0, 0 from 2 bins on."""
    lobe = torch.sinc(offset) / torch.where(offset.abs() == 1, 1.0, 1 - offset.square())
    return torch.where(offset.abs() == 1, 0.5, torch.where(offset.abs() < 2, lobe, 0.0))
