"""Pitch salience: how strongly each candidate pitch of a voice is present in each frame."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor

CENTS = 10  # distance of two candidate pitches


def pitch_grid(f_min: float, f_max: float, like: Tensor) -> Tensor:
    """Candidate pitches in Hz `(P,)`, 10 cents apart from `f_min` to `f_max`."""
    count = int(1200 * math.log2(f_max / f_min) / CENTS + 1e-6) + 1
    return f_min * 2 ** (torch.arange(count, dtype=like.dtype, device=like.device) * CENTS / 1200)


def loudness(frequency: Tensor) -> Tensor:
    """A-weighting as a gain (IEC 61672): how loud the ear finds each frequency in Hz."""
    f2 = frequency.square()
    low = (f2 + 20.6**2) * ((f2 + 107.7**2) * (f2 + 737.9**2)).sqrt()
    return 1.2589 * 12194**2 * f2.square() / (low * (f2 + 12194**2))


def _peaks(spectrum: Tensor, bin_width: float) -> tuple[Tensor, Tensor]:
    """Frequency in Hz and height of the local maxima, by a parabola through the log magnitudes."""
    level = nnf.pad(spectrum.clamp(min=1e-10).log(), (0, 0, 0, 2), value=math.log(1e-10))
    below, here, above = level[..., :-2, :], level[..., 1:-1, :], level[..., 2:, :]
    peak = (here >= below) & (here > above)
    curvature = torch.where(peak, below - 2 * here + above, -1.0)
    shift = torch.where(peak, 0.5 * (below - above) / curvature, 0.0)
    height = torch.where(peak, (here - 0.25 * (below - above) * shift).exp(), 0.0)
    bins = torch.arange(1, spectrum.shape[-2] + 1, dtype=spectrum.dtype, device=spectrum.device)[:, None]
    return (bins + shift) * bin_width, height


def harmonic_sum(
    magnitude: Tensor, bin_width: float, f_min: float = 80.0, f_max: float = 1000.0, top: float = 4500.0
) -> Tensor:
    """Salience by harmonic summation of spectral peaks (Salamon and Gómez 2012).

    S[f] = sum over harmonics h = 1 ... 20 of 0.9^(h-1) · sum over peaks at p of a_p^1.1 · g(p, h f), with
    g = cos² up to one semitone. Peaks lie below `top` and within 40 dB of their frame's strongest, after
    A-weighting.

    Args:
        magnitude: `(..., F, N)`.
        bin_width: distance of two bins in Hz.
        f_min: lowest candidate pitch in Hz.
        f_max: highest candidate pitch in Hz.
        top: highest frequency of a peak in Hz.

    Returns:
        `(..., P, N)`, not negative, on `pitch_grid(f_min, f_max)`.
    """
    bins = min(magnitude.shape[-2], int(top / bin_width) + 2)
    frequency = torch.arange(bins, dtype=magnitude.dtype, device=magnitude.device) * bin_width
    f, a = _peaks(magnitude[..., :bins, :] * loudness(frequency)[:, None], bin_width)
    a = torch.where(a > a.amax(-2, keepdim=True) * 1e-2, a, 0.0)
    # On a logarithmic axis a harmonic is a shift: sum the shifted copies.
    places = int(1200 * math.log2(top / f_min) / CENTS) + 1
    place = (torch.log2(f / f_min) * 1200 / CENTS).round().long()
    strength = torch.where((place >= 0) & (place < places), a**1.1, 0.0)
    axis = strength.new_zeros(*strength.shape[:-2], places, strength.shape[-1])
    axis = axis.scatter_add(-2, place.clamp(0, places - 1), strength).transpose(-1, -2)
    semitone = 100 // CENTS
    spread = torch.arange(-semitone, semitone + 1, dtype=axis.dtype, device=axis.device) / semitone
    spread = torch.cos(math.pi / 2 * spread).square()
    rows = axis.reshape(-1, 1, places)
    rows = nnf.conv1d(nnf.pad(rows, (semitone, semitone)), spread[None, None])[:, 0]
    pitches = len(pitch_grid(f_min, f_max, magnitude))
    salience = rows.new_zeros(len(rows), pitches)
    for h in range(1, 21):
        shift = round(1200 * math.log2(h) / CENTS)
        width = min(pitches, places - shift)
        if width > 0:
            salience[:, :width] += 0.9 ** (h - 1) * rows[:, shift : shift + width]
    return salience.reshape(*axis.shape[:-1], pitches).transpose(-1, -2)
