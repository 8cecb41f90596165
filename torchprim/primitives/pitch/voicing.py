"""Whether a voice sings in a frame, judged from the comb of its pitch."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.salience.salience_mix import mean_over_frames
from torchprim.kernels.tables import constant_table
from torchprim.kernels.voicing.voicing_sums import voicing_sums
from torchprim.primitives.pitch.grid import PitchGrid
from torchprim.primitives.pitch.salience import bin_a_weighting
from torchprim.spectra.high_pass import high_pass

_REACH = 4  # frames on either side that are averaged
_CUT = 220.0  # Hz; bass and drums lie below


def voicing_score(
    magnitude: Tensor,
    grid: PitchGrid,
    comb: Tensor,
    teeth: Tensor,
    path: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Log odds of voice: 4 c + 3.25 s + 0.9 log(0.01 + e) - b, averaged over 9 frames.

    c is how far the harmonics rise above what lies half-way between them (1: nothing there; about 0.5 in
    noise), s the share of the frame's power under the comb, e the weighted power under the comb relative
    to its mean over the clip; powers from 220 Hz to 8 kHz. b = 3.25; 4.25 without a weight, where
    sustained notes pass for voice. Fitted by logistic regression to frames in which the voice is a third
    of the power (tuning half of MUSDB18 previews) and to human labels (MIR-1K, abjones).

    Args:
        magnitude: `(..., K, N)`, the lowest K bins, relative to the loudest of all.
        grid: the candidate pitches, and the bins of the whole spectrogram.
        comb: `(..., F, N)`, the mask at the harmonics of each frame's pitch.
        teeth: `(..., K, N)`, the inhibiting comb of each frame's pitch; with a path, `(K, P)`.
        path: `(..., N)`, which column of the teeth is each frame's, or None.
        weight: `(..., F, N)` in [0, 1], how far each bin may be the voice.

    Returns:
        `(..., N)`; 0 means as likely as not.
    """
    read = magnitude.shape[-2]
    gain = _cut(grid.bins, grid.bin_width, magnitude.dtype, magnitude.device)[0][:read]
    loudness = bin_a_weighting(read, grid.bin_width, magnitude)
    weighted = weight is not None
    weight = weight[..., :read, :] if weighted else None
    sums = voicing_sums(magnitude, weight, comb[..., :read, :], teeth, path, loudness, gain)
    # Few operations, for on a GPU each takes as long as it takes to launch.
    part, whole, sung = sums[..., :2, :], sums[..., 2:4, :], sums[..., 4, :]
    some = whole > 0
    part = torch.where(some, part / torch.where(some, whole, 1.0), 0.0)
    # -90 dB of the loudest bin: rounding noise about a constant is no song.
    loud = (sung / (sung.mean(-1, keepdim=True) + 1e-9) + 0.01).log()
    odds = torch.add(0.9 * loud, part[..., 1, :], alpha=3.25).sub(part[..., 0, :], alpha=4)
    return mean_over_frames(odds, _REACH) + (0.75 if weighted else -0.25)


@constant_table
def _cut(bins: int, bin_width: float, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """The high-pass of each bin, `(F,)`."""
    rate = 2 * bin_width * max(1, bins - 1)
    like = torch.empty(0, dtype=dtype)
    return [high_pass(bins, rate, min(_CUT, rate / 4), like=like)[:, 0].to(device)]
