"""Forward-backward over pitches and, where wanted, one unvoiced state: the soft path."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def transition(
    pitches: int, rest: bool, band: int, slope: float, jump: float, switch: float, like: Tensor
) -> Tensor:
    """Weights exp(-cost) of all steps, `(S, S)` from row to column, with the costs of `viterbi`."""
    place = torch.arange(pitches, dtype=like.dtype, device=like.device)
    distance = (place[:, None] - place).abs()
    cost = torch.where(distance <= band, (slope * distance).clamp(max=jump), jump)
    weight = torch.exp(-cost)
    if rest:
        weight = torch.nn.functional.pad(weight, (0, 1, 0, 1), value=math.exp(-switch))
        corner = torch.zeros_like(weight)
        corner[-1, -1] = 1 - math.exp(-switch)
        weight = weight + corner
    return weight


def forward_backward(
    emission: Tensor,
    unvoiced: Tensor | None = None,
    band: int = 16,
    slope: float = 0.01,
    jump: float = 12.0,
    switch: float = 4.0,
) -> Tensor:
    """Marginals of every frame over all paths (Rabiner 1989), differentiable.

    A path weighs exp(sum of its scores - sum of its costs), with the costs of `viterbi`; the marginal of
    a state is the share of the weight of the paths through it.

    Args:
        emission: `(..., P, N)`, score of each pitch in each frame (a log-likelihood).
        unvoiced: `(..., N)`, score of the unvoiced state; None for none.
        band: largest step in pitches without a jump.
        slope: cost of a step, for each pitch of distance.
        jump: cost of a new note.
        switch: cost of a change of voicing.

    Returns:
        `(..., P, N)`, or `(..., P + 1, N)` with the unvoiced state last; sums to 1 over the states.
    """
    *lead, pitches, frames = emission.shape
    if unvoiced is not None:
        unvoiced = unvoiced.expand(*lead, frames).unsqueeze(-2)
        emission = torch.cat([emission, unvoiced.to(emission.dtype)], -2)
    states = emission.shape[-2]
    scores = emission.reshape(-1, states, frames).permute(2, 0, 1)  # N, B, S
    weight = transition(pitches, unvoiced is not None, band, slope, jump, switch, emission)
    # Each frame is scaled to a maximum or a sum of 1: marginals do not change by it, and nothing underflows.
    likelihood = torch.exp(scores - scores.amax(-1, keepdim=True)).unbind(0)
    forward = [likelihood[0] / likelihood[0].sum(-1, keepdim=True)]
    for n in range(1, frames):
        step = (forward[-1] @ weight) * likelihood[n]
        forward.append(step / step.sum(-1, keepdim=True))
    backward = torch.ones_like(forward[-1])
    marginals = [forward[-1]]
    for n in range(frames - 2, -1, -1):
        backward = backward * likelihood[n + 1]
        backward = (backward / backward.sum(-1, keepdim=True)) @ weight.t()
        product = forward[n] * backward
        marginals.append(product / product.sum(-1, keepdim=True))
    marginals = torch.stack(marginals[::-1], -1)  # B, S, N
    return marginals.reshape(*lead, states, frames)
