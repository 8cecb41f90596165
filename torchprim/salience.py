"""Pitch salience: how strongly each candidate pitch of a voice is present in each frame."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

CENTS = 10  # distance of two candidate pitches
_FLOOR = 0.03  # of a salience, relative to the mean over frames of the frames' maxima


def pitch_grid(f_min: float, f_max: float, like: Tensor | None = None) -> Tensor:
    """Candidate pitches in Hz `(P,)`, 10 cents apart from `f_min` to `f_max`.

    Example:
        >>> from torchprim.salience import pitch_grid
        >>> len(pitch_grid(80, 1100))
        454
    """
    like = torch.empty(0) if like is None else like
    count = int(1200 * math.log2(f_max / f_min) / CENTS + 1e-6) + 1
    return f_min * 2 ** (torch.arange(count, dtype=like.dtype, device=like.device) * CENTS / 1200)


def loudness(frequency: Tensor) -> Tensor:
    """A-weighting as a gain (IEC 61672): how loud the ear finds each frequency in Hz."""
    f2 = frequency.square()
    low = (f2 + 20.6**2) * ((f2 + 107.7**2) * (f2 + 737.9**2)).sqrt()
    return 1.2589 * 12194**2 * f2.square() / (low * (f2 + 12194**2))


def bin_loudness(spectrum: Tensor, bin_width: float) -> Tensor:
    """A-weighting of each bin of a spectrogram, `(F, 1)`."""
    bins = torch.arange(spectrum.shape[-2], dtype=spectrum.dtype, device=spectrum.device)
    return loudness(bins * bin_width)[:, None]


def peaks(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Places in bins and heights of the local maxima over frequency, 0 where there is none.

    A parabola through the log magnitudes of three bins (Smith and Serra 1987).

    Args:
        spectrum: `(..., F, N)`, not negative.

    Returns:
        Two tensors `(..., F, N)`: row k holds the peak at bin k + 1.
    """
    level = spectrum.clamp(min=1e-10).log()
    level = torch.nn.functional.pad(level, (0, 0, 0, 2), value=math.log(1e-10))
    below, here, above = level[..., :-2, :], level[..., 1:-1, :], level[..., 2:, :]
    peak = (here >= below) & (here > above)
    curvature = torch.where(peak, below - 2 * here + above, -1.0)
    shift = torch.where(peak, 0.5 * (below - above) / curvature, 0.0)
    height = torch.where(peak, (here - 0.25 * (below - above) * shift).exp(), 0.0)
    bins = torch.arange(1, spectrum.shape[-2] + 1, dtype=spectrum.dtype, device=spectrum.device)[:, None]
    return bins + shift, height


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept must serve with gradients, too
def _summation(f_min: float, f_max: float, top: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Matrix `(P, places)` from peaks on a logarithmic axis from `f_min` to `top` to pitches."""
    pitches = len(pitch_grid(f_min, f_max))
    places = torch.arange(int(1200 * math.log2(top / f_min) / CENTS) + 1, dtype=torch.float64)
    distance = places - torch.arange(pitches, dtype=torch.float64)[:, None]
    matrix = torch.zeros(pitches, len(places), dtype=torch.float64)
    for h in range(1, 21):
        semitones = (distance - 1200 * math.log2(h) / CENTS).abs() * CENTS / 100
        matrix += 0.9 ** (h - 1) * torch.cos(math.pi / 2 * semitones.clamp(max=1)).square()
    return matrix.to(dtype=dtype, device=device)


def harmonic_sum(
    magnitude: Tensor,
    bin_width: float,
    f_min: float = 80.0,
    f_max: float = 1100.0,
    weight: Tensor | None = None,
    top: float = 4500.0,
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
    magnitude = magnitude[..., : int(top / bin_width) + 2, :]
    place, height = peaks(magnitude * bin_loudness(magnitude, bin_width))
    height = torch.where(height > height.amax(-2, keepdim=True) * 1e-2, height, 0.0)
    if weight is not None:
        shifted = torch.nn.functional.pad(weight[..., 1 : magnitude.shape[-2] + 1, :], (0, 0, 0, 1))
        height = height * shifted[..., : magnitude.shape[-2], :]
    matrix = _summation(f_min, f_max, top, magnitude.dtype, magnitude.device)
    places = matrix.shape[1]
    place = (torch.log2(place * (bin_width / f_min)) * (1200 / CENTS)).round()
    found = (height > 0) & (place >= 0) & (place < places)
    # The slope of x^1.1 is 0 at 0, but automatic differentiation makes NaN of it through the logarithm.
    strength = torch.where(found, torch.where(found, height, 1.0) ** 1.1, 0.0)
    axis = strength.new_zeros(*strength.shape[:-2], places, strength.shape[-1])
    axis = axis.scatter_add(-2, place.clamp(0, places - 1).long(), strength)
    salience = matrix @ axis
    return (salience - 0.3 * salience.median(-1, keepdim=True).values).clamp(min=0)


def _main_lobe(offset: Tensor) -> Tensor:
    """Main lobe of the Hann window's transform, `offset` in bins; 1 at 0, 0 from 2 bins on."""
    lobe = torch.sinc(offset) / torch.where(offset.abs() == 1, 1.0, 1 - offset.square())
    return torch.where(offset.abs() == 1, 0.5, torch.where(offset.abs() < 2, lobe, 0.0))


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def inhibiting_combs(
    bins: int, bin_width: float, f_min: float, f_max: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Matrix `(P, F)` of combs that are negative at half harmonics; the positive part of a row sums to 1."""
    pitch = pitch_grid(f_min, f_max, torch.empty(0, dtype=torch.float64))[:, None] / bin_width
    place = torch.arange(bins, dtype=torch.float64)
    comb = torch.zeros(len(pitch), bins, dtype=torch.float64)
    for h in range(1, 21):
        between = _main_lobe(place - (h - 0.5) * pitch) + _main_lobe(place - (h + 0.5) * pitch)
        comb += 0.9 ** (h - 1) * (_main_lobe(place - h * pitch) - 0.3 * between)
    total = comb.clamp(min=0).sum(-1, keepdim=True)
    return (comb / torch.where(total > 0, total, 1.0)).to(dtype=dtype, device=device)


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
    # A root has no slope at 0; the offset, -120 dB of the loudest bin, changes nothing else.
    level = (magnitude * bin_loudness(magnitude, bin_width) + 1e-6).sqrt() - 1e-3
    if weight is not None:
        level = level * weight[..., :bins, :]
    matrix = inhibiting_combs(bins, bin_width, f_min, f_max, magnitude.dtype, magnitude.device)
    return mean_over_frames((matrix @ level).clamp(min=0), 2)


def mean_over_frames(value: Tensor, reach: int) -> Tensor:
    """Mean over 2 reach + 1 frames (last dimension); fewer at the ends."""
    window = 2 * reach + 1
    rows = value.reshape(-1, 1, value.shape[-1])
    rows = torch.nn.functional.avg_pool1d(rows, window, 1, reach, count_include_pad=False)
    return rows.reshape(value.shape)


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
    magnitude = magnitude[..., : comb_bins(magnitude.shape[-2], bin_width), :]
    if weight is not None:
        weight = weight[..., : magnitude.shape[-2], :].clamp(min=1e-6).sqrt().sqrt()
    one = _relative(harmonic_sum(magnitude, bin_width, f_min, f_max, weight))
    two = _relative(comb_salience(magnitude, bin_width, f_min, f_max, weight))
    return ((4 * one.log() + 3 * two.log()) / 7).exp()


def _relative(value: Tensor) -> Tensor:
    level = value.amax(-2, keepdim=True).mean(-1, keepdim=True)
    return value / torch.where(level > 0, level, 1.0) + _FLOOR
