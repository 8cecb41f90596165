"""Pitch tracking in a magnitude spectrogram, for `melody` and `track_pitch`."""

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

SHARPNESS = 2.8  # factor of the log salience in the emission: errors of frames are not independent
COMB_WIDTH = 32.0  # Hz, standard deviation of a tooth
SLOPE = 0.01  # transition cost per pitch (10 cents) of distance
JUMP = 12.0  # maximum transition cost, that of a new note


class Track(NamedTuple):
    """Pitch track of a spectrogram, with its comb mask."""

    f0: Tensor  # (..., N) in Hz
    score: Tensor  # (..., N), log odds of voiced
    comb: Tensor  # (..., F, N) in [0, 1], high at the harmonics of f0
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
    """Compute salience, path, comb and voicing score of the predominant pitch.

    The path is the best one through the emission 2.8 log S (`viterbi`), with a pitch in every frame; voicing
    is scored given the path. With `soft` the comb is the expectation over all paths: a dictionary of combs
    times the marginals of `forward_backward`, through which gradients flow.

    Args:
        magnitude: `(..., F, N)`.
        grid: the candidate pitches, and the bins of the spectrogram.
        weight: `(..., F, N)` in [0, 1], a vocals mask that weights the spectrum.
        width: standard deviation of the comb's teeth in Hz.
        soft: average over all paths instead of taking the best one.
        slope: transition cost per pitch of distance; a tensor only with `soft`.
        jump: maximum transition cost, that of a new note; a tensor only with `soft`.
        marginals: return the marginals without `soft`, too.
        salience: return the salience.

    Returns:
        A `Track`.
    """
    # Invariant to level: everything is relative to the loudest bin.
    loudest = magnitude.amax((-2, -1), keepdim=True)
    relative = magnitude[..., : grid.comb_bins, :] / torch.where(loudest > 0, loudest, 1.0)
    emission = log_salience(relative, grid, weight, SHARPNESS)
    pitches = grid.frequencies(magnitude)
    teeth = inhibiting_combs(grid, magnitude)
    combs = harmonic_comb(pitches, torch.ones_like(pitches), grid.bins, grid.bin_width, width)  # (F, P)
    costs = {"slope": slope, "jump": jump}
    path_marginals = forward_backward(emission, **costs) if soft or marginals else None
    if soft:
        path = path_marginals.argmax(-2)
        comb = combs @ path_marginals
        score = voicing_score(relative, grid, comb, teeth.t() @ path_marginals, None, weight)
    else:
        path = viterbi(emission, **costs)
        comb = _gather_columns(combs, path)
        score = voicing_score(relative, grid, comb, teeth.t().contiguous(), path, weight)
    strength = (emission / SHARPNESS).exp() if salience else None
    return Track(pitches[path], score, comb, strength, path_marginals)


def _gather_columns(table: Tensor, index: Tensor) -> Tensor:
    """Gather columns of a table: `(F, P)` at indices `(..., N)` -> `(..., F, N)`."""
    columns = table.index_select(1, index.reshape(-1)).reshape(-1, *index.shape)
    return columns.movedim(0, -2)
