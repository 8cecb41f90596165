"""The pitch of a voice from a magnitude spectrogram: what `melody` and `track_pitch` have in common."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.kernels.paths.forward_backward import forward_backward
from torchprim.kernels.paths.viterbi import viterbi
from torchprim.kernels.voicing.harmonic_comb import harmonic_comb
from torchprim.primitives.pitch.grid import PitchGrid
from torchprim.primitives.pitch.salience import inhibiting_combs, log_salience
from torchprim.primitives.pitch.voicing import voicing_score

SHARPNESS = 2.8  # of the emission, times the log of the salience: frames do not err independently
COMB_WIDTH = 32.0  # Hz, standard deviation of a tooth
SLOPE = 0.01  # cost of a step of the path, for each pitch of distance
JUMP = 12.0  # cost of a new note


class Track(NamedTuple):
    """A pitch in every frame, and what was found on the way."""

    f0: Tensor  # (..., N) in Hz
    score: Tensor  # (..., N), log odds of voice
    comb: Tensor  # (..., F, N) in [0, 1]
    salience: Tensor | None  # (..., P, N)
    marginals: Tensor | None  # (..., P, N)


def track(
    magnitude: Tensor,
    grid: PitchGrid,
    weight: Tensor | None = None,
    width: float | Tensor = COMB_WIDTH,
    soft: bool = False,
    slope: float | Tensor = SLOPE,
    jump: float | Tensor = JUMP,
    marginals: bool = False,
    salience: bool = False,
) -> Track:
    """Salience, path, comb and voicing of the most salient voice.

    The path is the best one through 2.8 log S (`viterbi`), with a pitch in every frame; voicing is judged
    after it. Soft, the comb is the mean over all paths: a dictionary of combs times the marginals of
    `forward_backward`, through which gradients pass.

    Args:
        magnitude: `(..., F, N)`.
        grid: the candidate pitches, and the bins of the spectrogram.
        weight: `(..., F, N)` in [0, 1], how far each bin may be the voice.
        width: of the comb's teeth in Hz.
        soft: use all paths instead of the best one.
        slope: cost of a step of the path, for each pitch of distance; a tensor only with `soft`.
        jump: cost of a new note; a tensor only with `soft`.
        marginals: compute the marginals although the best path is used.
        salience: give the salience, too.

    Returns:
        A `Track`.
    """
    # Nothing may depend on the level: all is relative to the loudest bin.
    loudest = magnitude.amax((-2, -1), keepdim=True)
    relative = magnitude[..., : grid.comb_bins, :] / torch.where(loudest > 0, loudest, 1.0)
    emission = log_salience(relative, grid, weight, SHARPNESS)
    pitches = grid.frequencies(magnitude)
    teeth = inhibiting_combs(grid, magnitude)
    combs = harmonic_comb(pitches, torch.ones_like(pitches), grid.bins, grid.bin_width, width)  # F, P
    costs = {"slope": slope, "jump": jump}
    chances = forward_backward(emission, **costs) if soft or marginals else None
    if soft:
        path = chances.argmax(-2)
        comb, teeth, named = combs @ chances, teeth.t() @ chances, None
    else:
        path = named = viterbi(emission, **costs)
        comb, teeth = _columns(combs, path), teeth.t().contiguous()
    score = voicing_score(relative, grid, comb, teeth, named, weight)
    strength = (emission / SHARPNESS).exp() if salience else None
    return Track(pitches[path], score, comb, strength, chances)


def _columns(table: Tensor, path: Tensor) -> Tensor:
    """The columns of a table `(F, P)` that a path `(..., N)` names: `(..., F, N)`."""
    chosen = table.index_select(1, path.reshape(-1)).reshape(-1, *path.shape)
    return chosen.movedim(0, -2)
