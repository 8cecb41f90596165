"""Voicing: log odds that a frame is voiced, given its pitch."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.salience.salience_mix import mean_over_frames
from torchprim.kernels.voicing.voicing_sums import voicing_sums
from torchprim.primitives.pitch.grid import PitchGrid
from torchprim.primitives.pitch.salience import bin_a_weighting
from torchprim.spectra.high_pass import high_pass

_RADIUS = 4  # frames on either side of the moving average
_CUTOFF = 220.0  # Hz; bass and drums lie below


def voicing_score(
    magnitude: Tensor,
    grid: PitchGrid,
    comb: Tensor,
    teeth: Tensor,
    path: Tensor | None = None,
    weight: Tensor | None = None,
    scale: Tensor | None = None,
) -> Tensor:
    """Compute the log odds of voiced: 4 c + 3.25 s + 0.9 log(0.01 + e) - b, averaged over 9 frames.

    c is the contrast of the harmonics to the spectrum half-way between them (1: nothing there; about 0.5 in
    noise), s the share of the frame's power under the comb, e the weighted power under the comb relative
    to its mean over the clip; powers from 220 Hz to 8 kHz. b = 3.25; 4.25 without a weight, where
    sustained notes are mistaken for voice. Fitted by logistic regression to frames in which the voice is a
    third of the power (tuning half of MUSDB18 previews) and to human labels (MIR-1K, abjones).

    Args:
        magnitude: `(..., F, N)`, of which the lowest K = `grid.comb_bins` bins are read.
        grid: the candidate pitches, and the bins of the spectrogram.
        comb: `(..., F, N)`, the mask at the harmonics of each frame's pitch; with a path, a table `(F, P)`.
        teeth: `(..., K, N)`, the inhibiting comb of each frame's pitch; with a path, a table `(K, P)`.
        path: `(..., N)`, index of each frame's column in the tables.
        weight: `(..., F, N)` in [0, 1], a vocals mask that weights the spectrum.
        scale: `(...)`, factor of the magnitude, after which the loudest bin is 1; None for 1.

    Returns:
        `(..., N)`; a frame is voiced above 0.
    """
    bins = grid.comb_bins
    magnitude, comb = magnitude[..., :bins, :], comb[..., :bins, :]
    sample_rate = 2 * grid.bin_width * max(1, grid.bins - 1)
    gain = high_pass(grid.bins, sample_rate, min(_CUTOFF, sample_rate / 4), like=magnitude)[:bins, 0]
    loudness = bin_a_weighting(bins, grid.bin_width, magnitude)
    weighted = weight is not None
    weight = weight[..., :bins, :] if weighted else None
    sums = voicing_sums(magnitude, weight, comb, teeth, path, loudness, gain, scale)
    # Launch-bound on a GPU: as few operations as possible.
    parts, totals, power = sums[..., :2, :], sums[..., 2:4, :], sums[..., 4, :]
    nonzero = totals > 0
    shares = torch.where(nonzero, parts / torch.where(nonzero, totals, 1.0), 0.0)
    # 1e-9, -90 dB of the loudest bin: rounding noise around a constant counts as silence.
    log_power = (power / (power.mean(-1, keepdim=True) + 1e-9) + 0.01).log()
    odds = torch.add(0.9 * log_power, shares[..., 1, :], alpha=3.25).sub(shares[..., 0, :], alpha=4)
    return mean_over_frames(odds, _RADIUS) + (0.75 if weighted else -0.25)
