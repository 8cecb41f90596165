"""Pitch salience: how strongly each candidate pitch of a voice is present in each frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchprim.kernels.salience.banded_product import Banded, banded, banded_product
from torchprim.kernels.salience.row_median import row_median
from torchprim.kernels.salience.salience_inputs import comb_level, peak_axis, salience_inputs
from torchprim.kernels.salience.salience_mix import OFF_MEDIAN, REACH, mean_over_frames, salience_mix
from torchprim.kernels.tables import constant_table

CENTS = 10  # distance of two candidate pitches
_TOP = 4500.0  # Hz, of a peak


def _pitches(f_min: float, f_max: float) -> int:
    """Number of candidate pitches P."""
    return int(1200 * math.log2(f_max / f_min) / CENTS + 1e-6) + 1


def pitch_grid(f_min: float, f_max: float, like: Tensor | None = None) -> Tensor:
    """Candidate pitches in Hz `(P,)`, 10 cents apart from `f_min` to `f_max`.

    Example:
        >>> from torchprim.primitives.pitch.salience import pitch_grid
        >>> len(pitch_grid(80, 1100))
        454
    """
    like = torch.empty(0) if like is None else like
    count = _pitches(f_min, f_max)
    return f_min * 2 ** (torch.arange(count, dtype=like.dtype, device=like.device) * CENTS / 1200)


def loudness(frequency: Tensor) -> Tensor:
    """A-weighting as a gain (IEC 61672): how loud the ear finds each frequency in Hz."""
    f2 = frequency.square()
    low = (f2 + 20.6**2) * ((f2 + 107.7**2) * (f2 + 737.9**2)).sqrt()
    return 1.2589 * 12194**2 * f2.square() / (low * (f2 + 12194**2))


@constant_table
def _gains(bins: int, bin_width: float, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    return [loudness(torch.arange(bins, dtype=dtype) * bin_width).to(device)]


def bin_loudness(spectrum: Tensor, bin_width: float) -> Tensor:
    """A-weighting of each bin of a spectrogram, `(F, 1)`."""
    return _gains(spectrum.shape[-2], bin_width, spectrum.dtype, spectrum.device)[0][:, None]


@constant_table
def _summation_table(pitches: int, places: int, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    place = torch.arange(places, dtype=torch.float64)
    distance = place - torch.arange(pitches, dtype=torch.float64)[:, None]
    matrix = torch.zeros(pitches, places, dtype=torch.float64)
    for h in range(1, 21):
        semitones = (distance - 1200 * math.log2(h) / CENTS).abs() * CENTS / 100
        spread = torch.cos(math.pi / 2 * semitones).square()
        matrix += 0.9 ** (h - 1) * torch.where(semitones < 1, spread, 0.0)  # cos(pi / 2) is not quite 0
    return list(banded(matrix.to(dtype), device)[:4])


def _summation(f_min: float, f_max: float, top: float, dtype: torch.dtype, device: torch.device) -> Banded:
    """Matrix `(P, places)` from peaks on a logarithmic axis from `f_min` to `top` to pitches."""
    size = _pitches(f_min, f_max), int(1200 * math.log2(top / f_min) / CENTS) + 1
    return Banded(*_summation_table(*size, dtype, device), *size)


def harmonic_sum(
    magnitude: Tensor,
    bin_width: float,
    f_min: float = 80.0,
    f_max: float = 1100.0,
    weight: Tensor | None = None,
    top: float = _TOP,
) -> Tensor:
    """Salience by harmonic summation of spectral peaks (Salamon and Gómez 2012).

    S[f] = sum over harmonics h = 1 ... 20 of 0.9^(h-1) · sum over peaks at p of a_p^1.1 · g(p, h f), with
    g = cos² up to one semitone. Peaks lie below `top` and within 40 dB of their frame's strongest, after
    A-weighting; 0.3 times the median over time of each pitch is taken off.

    Args:
        magnitude: `(..., F, N)`.
        bin_width: distance of two bins in Hz.
        f_min: lowest candidate pitch in Hz.
        f_max: highest candidate pitch in Hz.
        weight: `(..., F, N)`, multiplies the peaks after they are found.
        top: highest frequency of a peak in Hz.

    Returns:
        `(..., P, N)`, not negative, on `pitch_grid(f_min, f_max)`.
    """
    magnitude = magnitude[..., : _peak_bins(bin_width, top), :]
    if weight is not None:
        weight = weight[..., : magnitude.shape[-2], :]
    matrix = _summation(f_min, f_max, top, magnitude.dtype, magnitude.device)
    heard = magnitude * bin_loudness(magnitude, bin_width)
    total = banded_product(matrix, peak_axis(heard, weight, bin_width / f_min, matrix.depth))
    return (total - OFF_MEDIAN * row_median(total)[..., None]).clamp(min=0)


def _peak_bins(bin_width: float, top: float) -> int:
    """Number of bins that peaks are sought in."""
    return int(top / bin_width) + 2


def _main_lobe(offset: Tensor) -> Tensor:
    """Main lobe of the Hann window's transform, `offset` in bins; 1 at 0, 0 from 2 bins on."""
    lobe = torch.sinc(offset) / torch.where(offset.abs() == 1, 1.0, 1 - offset.square())
    return torch.where(offset.abs() == 1, 0.5, torch.where(offset.abs() < 2, lobe, 0.0))


def _combs(bins: int, bin_width: float, f_min: float, f_max: float, dtype: torch.dtype) -> Tensor:
    pitch = pitch_grid(f_min, f_max, torch.empty(0, dtype=torch.float64))[:, None] / bin_width
    place = torch.arange(bins, dtype=torch.float64)
    comb = torch.zeros(len(pitch), bins, dtype=torch.float64)
    for h in range(1, 21):
        between = _main_lobe(place - (h - 0.5) * pitch) + _main_lobe(place - (h + 0.5) * pitch)
        comb += 0.9 ** (h - 1) * (_main_lobe(place - h * pitch) - 0.3 * between)
    total = comb.clamp(min=0).sum(-1, keepdim=True)
    return (comb / torch.where(total > 0, total, 1.0)).to(dtype)


@constant_table
def _comb_table(
    bins: int, bin_width: float, f_min: float, f_max: float, dtype: torch.dtype, device: torch.device
) -> list[Tensor]:
    return [_combs(bins, bin_width, f_min, f_max, dtype).to(device)]


@constant_table
def _banded_comb_table(
    bins: int, bin_width: float, f_min: float, f_max: float, dtype: torch.dtype, device: torch.device
) -> list[Tensor]:
    return list(banded(_combs(bins, bin_width, f_min, f_max, dtype), device)[:4])


def inhibiting_combs(
    bins: int, bin_width: float, f_min: float, f_max: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Matrix `(P, F)` of combs that are negative at half harmonics; the positive part of a row sums to 1."""
    return _comb_table(bins, bin_width, f_min, f_max, dtype, device)[0]


def _inhibition(
    bins: int, bin_width: float, f_min: float, f_max: float, dtype: torch.dtype, device: torch.device
) -> Banded:
    """`inhibiting_combs`, made ready for products."""
    tensors = _banded_comb_table(bins, bin_width, f_min, f_max, dtype, device)
    return Banded(*tensors, _pitches(f_min, f_max), bins)


def comb_bins(bins: int, bin_width: float) -> int:
    """Number of bins that the combs read: up to 8 kHz."""
    return min(bins, int(8000 / bin_width) + 2)


def comb_salience(
    magnitude: Tensor,
    bin_width: float,
    f_min: float = 80.0,
    f_max: float = 1100.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Salience by one matrix product, with combs that are negative at half harmonics.

    S = relu(K (E A)^0.5); row f of K is the sum over h = 1 ... 20 of
    0.9^(h-1) (W(k - h f / D) - 0.3 (W(k - (h - 1/2) f / D) + W(k - (h + 1/2) f / D))), W the Hann main
    lobe, D the bin width, E A-weighting. An octave too low finds energy between its harmonics' doubles and
    none at its odd ones; an octave too high is inhibited. The mean over 5 frames is taken.

    Args:
        magnitude: `(..., F, N)`.
        bin_width: distance of two bins in Hz.
        f_min: lowest candidate pitch in Hz.
        f_max: highest candidate pitch in Hz.
        weight: `(..., F, N)`, multiplies (E A)^0.5.

    Returns:
        `(..., P, N)`, not negative, on `pitch_grid(f_min, f_max)`.
    """
    bins = comb_bins(magnitude.shape[-2], bin_width)
    magnitude = magnitude[..., :bins, :]
    if weight is not None:
        weight = weight[..., :bins, :]
    level = comb_level(magnitude * bin_loudness(magnitude, bin_width), weight)
    matrix = _inhibition(bins, bin_width, f_min, f_max, magnitude.dtype, magnitude.device)
    return mean_over_frames(banded_product(matrix, level).clamp(min=0), REACH)


def salience(
    magnitude: Tensor,
    bin_width: float,
    f_min: float = 80.0,
    f_max: float = 1100.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Both saliences in one: S = S1^(4/7) S2^(3/7), of `harmonic_sum` and `comb_salience`.

    Each is first divided by the mean over frames of the frames' maxima, and lifted by 0.03. The two make
    different mistakes: the sum takes a pitch an octave too low or high, the combs are fooled by noise.

    Args:
        magnitude: `(..., F, N)`, the loudest bin near 1.
        bin_width: distance of two bins in Hz.
        f_min: lowest candidate pitch in Hz.
        f_max: highest candidate pitch in Hz.
        weight: `(..., F, N)` in [0, 1], how far each bin may be the voice; enters by its fourth root.

    Returns:
        `(..., P, N)`, positive, on `pitch_grid(f_min, f_max)`.
    """
    return log_salience(magnitude, bin_width, f_min, f_max, weight).exp()


def log_salience(
    magnitude: Tensor,
    bin_width: float,
    f_min: float = 80.0,
    f_max: float = 1100.0,
    weight: Tensor | None = None,
    sharpness: float = 1.0,
) -> Tensor:
    """`sharpness` times the logarithm of `salience`, with the same arguments.

    Magnitude and weight are read once, for the peaks of the one and the levels of the other; each
    salience is one matrix product; a last step puts them together.
    """
    bins = comb_bins(magnitude.shape[-2], bin_width)
    magnitude = magnitude[..., :bins, :]
    weight = None if weight is None else weight[..., :bins, :]
    like = (magnitude.dtype, magnitude.device)
    summation = _summation(f_min, f_max, _TOP, *like)
    gain = _gains(bins, bin_width, *like)[0]
    peak_bins = _peak_bins(bin_width, _TOP)
    axis, level = salience_inputs(magnitude, gain, weight, bin_width / f_min, peak_bins, summation.depth)
    total = banded_product(summation, axis)
    combs = banded_product(_inhibition(bins, bin_width, f_min, f_max, *like), level)
    return salience_mix(total, row_median(total), combs, sharpness * 4 / 7, sharpness * 3 / 7)
