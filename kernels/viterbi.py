"""Banded Viterbi scan over pitches and one unvoiced state."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor

_NEVER = -1e30


def viterbi(
    emission: Tensor,
    unvoiced: Tensor,
    band: int = 12,
    slope: float = 0.01,
    jump: float = 8.0,
    switch: float = 2.0,
) -> Tensor:
    """The best path through P pitches and one unvoiced state (Viterbi 1967).

    From pitch i to pitch j a step costs `slope · |i - j|` within `band`, or `jump` from any pitch to any;
    from voiced to unvoiced and back, `switch`; unvoiced to unvoiced nothing. Of equal paths the step
    within the band is taken before the jump, and the jump before the switch.

    Args:
        emission: `(..., P, N)`, score of each pitch in each frame (a log-likelihood).
        unvoiced: `(..., N)`, score of the unvoiced state.
        band: largest step in pitches without a jump.
        slope: cost of a step, for each pitch of distance.
        jump: cost of a new note.
        switch: cost of a change of voicing.

    Returns:
        `(..., N)`, int64: the pitch of each frame, or P where unvoiced.
    """
    *lead, pitches, frames = emission.shape
    emission = emission.detach().reshape(-1, pitches, frames).permute(2, 0, 1).contiguous()  # N, B, P
    unvoiced = unvoiced.detach().expand(*lead, frames).reshape(-1, frames).t().contiguous()  # N, B
    band = min(band, pitches - 1)
    offset = torch.arange(-band, band + 1, device=emission.device)
    cost = slope * offset.abs().to(emission.dtype)
    own = torch.arange(pitches, device=emission.device) - band

    score, rest = emission[0], unvoiced[0]  # (B, P), (B,)
    source = torch.empty(frames, score.shape[0], pitches + 1, dtype=torch.int16, device=emission.device)
    for n in range(1, frames):
        near = nnf.pad(score, (band, band), value=_NEVER).unfold(-1, 2 * band + 1, 1) - cost
        best, index = near.max(-1)
        index = index + own
        top, top_index = score.max(-1, keepdim=True)
        better = top - jump > best
        best = torch.where(better, top - jump, best)
        index = torch.where(better, top_index, index)
        onset = rest[:, None] - switch
        better = onset > best
        source[n, :, :pitches] = torch.where(better, pitches, index)
        stays = rest >= top[:, 0] - switch
        source[n, :, pitches] = torch.where(stays, pitches, top_index[:, 0])
        rest = torch.where(stays, rest, top[:, 0] - switch) + unvoiced[n]
        score = torch.where(better, onset, best) + emission[n]

    path = torch.empty(frames, score.shape[0], dtype=torch.int64, device=emission.device)
    path[-1] = torch.cat([score, rest[:, None]], -1).argmax(-1)
    for n in range(frames - 1, 0, -1):
        path[n - 1] = source[n].gather(1, path[n][:, None])[:, 0]
    return path.t().reshape(*lead, frames)
