"""Melody: the mask of the singing pitch (time and pitch proximity)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from torchprim import checks
from torchprim.kernels.harmonic_comb import harmonic_comb
from torchprim.kernels.viterbi import viterbi
from torchprim.primitives.high_pass import high_pass
from torchprim.salience import harmonic_sum, pitch_grid


def melody(
    magnitude: Tensor,
    f_min: float = 80.0,
    f_max: float = 1000.0,
    width: float = 37.7,
    *,
    cutoff: float = 0.0,
    smooth: bool = True,
    sample_rate: float = 44100,
) -> Tensor:
    """Vocals mask of the most salient melody: a comb at the harmonics of the tracked pitch.

    Salience by harmonic summation (Salamon and Gómez 2012), the best path through it with an unvoiced
    state (Viterbi), and there exp(-d² / 2 width²), d the distance to the nearest harmonic.

    Args:
        magnitude: `(..., F, N)`.
        f_min: lowest pitch in Hz.
        f_max: highest pitch in Hz.
        width: standard deviation of a tooth of the comb in Hz.
        cutoff: high-pass of the mask in Hz.
        smooth: smooth high-pass instead of a step.
        sample_rate: of the audio, in Hz.

    Returns:
        `(..., F, N)`, in [0, 1].

    Raises:
        ValueError: for magnitudes that are negative or not finite, or a pitch range that is upside down
            or not below half the sample rate.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.melody(tp.stft(torch.randn(2, 44100)).abs()).shape
        torch.Size([2, 1025, 87])
    """
    magnitude = checks.magnitude(magnitude)
    checks.positive(sample_rate, "sample_rate")
    checks.positive(width, "width")
    if not 0 < f_min < f_max < sample_rate / 2:
        raise ValueError(
            f"f_min and f_max must satisfy 0 < f_min < f_max < {sample_rate / 2} Hz, got {f_min} and {f_max}"
        )
    bins = magnitude.shape[-2]
    bin_width = sample_rate / 2 / max(1, bins - 1)
    # The mask must not depend on the level: everything is relative to the loudest bin.
    loudest = magnitude.amax((-2, -1), keepdim=True)
    relative = magnitude / torch.where(loudest > 0, loudest, 1.0)
    salience = harmonic_sum(relative, bin_width, f_min, f_max)
    salience = (salience - 0.3 * salience.detach().median(-1, keepdim=True).values).clamp(min=0)
    peak = salience.amax(-2, keepdim=True).square().mean(-1, keepdim=True).sqrt()
    salience = salience / torch.where(peak > 0, peak, 1.0)
    path = viterbi(6 * torch.log(salience + 0.02), salience.new_full((1,), 6 * math.log(0.4)))
    pitches = pitch_grid(f_min, f_max, magnitude)
    voiced = path < len(pitches)
    f0 = pitches[path.clamp(max=len(pitches) - 1)]
    mask = harmonic_comb(f0, voiced.to(magnitude.dtype), bins, bin_width, width)
    return mask * (magnitude > 0) * high_pass(bins, sample_rate, cutoff, smooth, like=magnitude)


class Melody(nn.Module):
    """`melody` with its settings; see there.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.Melody(cutoff=220)(torch.rand(1025, 40)).shape
        torch.Size([1025, 40])
    """

    def __init__(
        self,
        f_min: float = 80.0,
        f_max: float = 1000.0,
        width: float = 37.7,
        *,
        cutoff: float = 0.0,
        smooth: bool = True,
        sample_rate: float = 44100,
    ) -> None:
        super().__init__()
        self.f_min = f_min
        self.f_max = f_max
        self.width = width
        self.cutoff = cutoff
        self.smooth = smooth
        self.sample_rate = sample_rate

    def forward(self, magnitude: Tensor) -> Tensor:
        return melody(
            magnitude,
            self.f_min,
            self.f_max,
            self.width,
            cutoff=self.cutoff,
            smooth=self.smooth,
            sample_rate=self.sample_rate,
        )
