"""Whether a voice sings in a frame, judged from the comb of its pitch."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.primitives.high_pass import high_pass
from torchprim.salience import bin_loudness, mean_over_frames

_REACH = 4  # frames on either side that are averaged
_CUT = 220.0  # Hz; bass and drums lie below


def voicing_score(
    magnitude: Tensor, bin_width: float, comb: Tensor, teeth: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Log odds of voice: 4 c + 3.25 s + 0.9 log(0.01 + e) - b, averaged over 9 frames.

    c is how far the harmonics rise above what lies half-way between them (1: nothing there; about 0.5 in
    noise), s the share of the frame's power under the comb, e the weighted power under the comb relative
    to its mean over the clip; powers from 220 Hz to 8 kHz. b = 3.25; 4.25 without a weight, where
    sustained notes pass for voice. Fitted by logistic regression to frames in which the voice is a third
    of the power (tuning half of MUSDB18 previews) and to human labels (MIR-1K, abjones).

    Args:
        magnitude: `(..., F, N)`, the loudest bin near 1.
        bin_width: distance of two bins in Hz.
        comb: `(..., F, N)`, the mask at the harmonics of each frame's pitch.
        teeth: `(..., K, N)`, the inhibiting comb of each frame's pitch, for the lowest K bins.
        weight: `(..., F, N)` in [0, 1], how far each bin may be the voice.

    Returns:
        `(..., N)`; 0 means as likely as not.
    """
    bins, read = magnitude.shape[-2], teeth.shape[-2]
    rate = 2 * bin_width * max(1, bins - 1)
    gain = high_pass(bins, rate, min(_CUT, rate / 4), like=magnitude)[:read]
    magnitude, comb = magnitude[..., :read, :], comb[..., :read, :]
    heard = magnitude * bin_loudness(magnitude, bin_width)
    on = (teeth.clamp(min=0) * heard).sum(-2)
    between = (-teeth.clamp(max=0) * heard).sum(-2)
    contrast = 1 - _ratio(between, on)
    power = (magnitude * gain).square()
    under = comb * power
    share = _ratio(under.sum(-2), power.sum(-2))
    sung = (under if weight is None else under * weight[..., :read, :]).sum(-2)
    # -90 dB of the loudest bin: rounding noise about a constant is no song.
    loud = sung / (sung.mean(-1, keepdim=True) + 1e-9)
    bias = 4.25 if weight is None else 3.25
    return mean_over_frames(4 * contrast + 3.25 * share + 0.9 * (0.01 + loud).log() - bias, _REACH)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / torch.where(whole > 0, whole, 1.0), 0.0)
