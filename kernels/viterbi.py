"""Banded Viterbi scan over pitches and, where wanted, one unvoiced state."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor

_NEVER = -1e30


def viterbi(
    emission: Tensor,
    unvoiced: Tensor | None = None,
    band: int = 16,
    slope: float = 0.01,
    jump: float = 12.0,
    switch: float = 4.0,
) -> Tensor:
    """The best path through P pitches and one unvoiced state (Viterbi 1967).

    From pitch i to pitch j a step costs `slope · |i - j|` within `band`, or `jump` from any pitch to any;
    from voiced to unvoiced and back, `switch`; unvoiced to unvoiced nothing. Of equal paths the step
    within the band is taken before the jump, the jump before the onset, rest before the end of a note, and
    the lowest pitch before the others.

    Args:
        emission: `(..., P, N)`, score of each pitch in each frame (a log-likelihood).
        unvoiced: `(..., N)`, score of the unvoiced state; None for none: every frame gets a pitch.
        band: largest step in pitches without a jump.
        slope: cost of a step, for each pitch of distance.
        jump: cost of a new note.
        switch: cost of a change of voicing.

    Returns:
        `(..., N)`, int64: the pitch of each frame, or P where unvoiced. No gradient.
    """
    *lead, pitches, frames = emission.shape
    rest_too = unvoiced is not None
    emission = emission.detach().reshape(-1, pitches, frames).permute(2, 0, 1).contiguous()  # N, B, P
    if rest_too:
        unvoiced = unvoiced.detach().expand(*lead, frames).reshape(-1, frames).t().contiguous()  # N, B
    band = min(band, pitches - 1)
    offset = torch.arange(-band, band + 1, device=emission.device)
    cost = slope * offset.abs().to(emission.dtype)
    own = torch.arange(pitches, device=emission.device) - band

    score = emission[0]  # (B, P)
    rest = unvoiced[0] if rest_too else None  # (B,)
    source = torch.empty(
        frames, score.shape[0], pitches + rest_too, dtype=torch.int16, device=emission.device
    )
    for n in range(1, frames):
        near = nnf.pad(score, (band, band), value=_NEVER).unfold(-1, 2 * band + 1, 1) - cost
        best, index = near.max(-1)
        index = index + own
        top, top_index = score.max(-1, keepdim=True)
        index = torch.where(top - jump > best, top_index, index)
        best = torch.maximum(top - jump, best)
        if rest_too:
            onset = rest[:, None] - switch
            index = torch.where(onset > best, pitches, index)
            best = torch.maximum(onset, best)
            source[n, :, pitches] = torch.where(rest >= top[:, 0] - switch, pitches, top_index[:, 0])
            rest = torch.maximum(rest, top[:, 0] - switch) + unvoiced[n]
        source[n, :, :pitches] = index
        score = best + emission[n]

    path = torch.empty(frames, score.shape[0], dtype=torch.int64, device=emission.device)
    path[-1] = (torch.cat([score, rest[:, None]], -1) if rest_too else score).argmax(-1)
    for n in range(frames - 1, 0, -1):
        path[n - 1] = source[n].gather(1, path[n][:, None])[:, 0]
    return path.t().reshape(*lead, frames)
