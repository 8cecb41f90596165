"""Pitch tracking in a magnitude spectrogram, for `melody` and `track_pitch`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.kernels.autocast import outside_autocast
from torchprim.kernels.paths.forward_backward import forward_backward
from torchprim.kernels.paths.viterbi import viterbi
from torchprim.primitives.pitch.grid import PitchGrid
from torchprim.primitives.pitch.harmonic_comb import comb_table
from torchprim.primitives.pitch.salience import inhibiting_combs, log_salience
from torchprim.primitives.pitch.voicing import voicing_score

SHARPNESS = 2.8  # factor of the log salience in the emission: errors of frames are not independent
COMB_WIDTH = 32.0  # Hz, standard deviation of a tooth
SLOPE = 0.01  # transition cost per pitch (10 cents) of distance
JUMP = 12.0  # maximum transition cost, that of a new note


class Track(NamedTuple):
    """Pitch track of a spectrogram, with the comb of each pitch."""

    path: Tensor  # (..., N), index of a candidate pitch
    score: Tensor  # (..., N), log odds of voiced
    combs: Tensor  # (F, P) in [0, 1], column p high at the harmonics of pitch p
    comb: Tensor | None  # (..., F, N), with `soft` the average of the combs
    salience: Tensor | None  # (..., P, N)
    marginals: Tensor | None  # (..., P, N)


@outside_autocast
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
    loudest: Tensor | None = None,
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
        loudest: the largest magnitude, `(...)`; computed by default.

    Returns:
        A `Track`.
    """
    # Invariant to level: everything is relative to the loudest bin. Denormal numbers, whose reciprocal is
    # infinite, count as silence.
    loudest = magnitude.amax((-2, -1)) if loudest is None else loudest
    scale = torch.where(loudest >= torch.finfo(loudest.dtype).tiny, loudest, 1.0).reciprocal()
    emission = log_salience(magnitude, grid, weight, SHARPNESS, scale)
    teeth = inhibiting_combs(grid, magnitude)
    combs = comb_table(grid, width, magnitude)
    costs = {"slope": slope, "jump": jump}
    path_marginals = forward_backward(emission, **costs) if soft or marginals else None
    comb = None
    if soft:
        path = path_marginals.argmax(-2)
        comb = combs @ path_marginals
        score = voicing_score(magnitude, grid, comb, teeth @ path_marginals, None, weight, scale)
    else:
        path = viterbi(emission, **costs)
        score = voicing_score(magnitude, grid, combs, teeth, path, weight, scale)
    strength = (emission / SHARPNESS).exp() if salience else None
    return Track(path, score, combs, comb, strength, path_marginals)
