"""Transition weights of the pitch lattice, and gradients to their costs."""

from __future__ import annotations

import torch
from torch import Tensor


def transition(
    states: int, rest: bool, band: int, slope: Tensor, jump: Tensor, switch: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights exp(-cost) of all steps, `(S, S)` from row to column, and their derivatives `(3, S, S)`.

    The costs are those of `viterbi`, the derivatives those to slope, jump and switch.
    """
    place = torch.arange(states, device=slope.device)
    distance = (place[:, None] - place).abs().to(slope.dtype)
    cost = slope * distance
    slides = (distance <= band) & (cost <= jump)
    weight = torch.exp(-torch.where(slides, cost, jump))
    unvoiced = (place == states - 1) & rest
    either = unvoiced[:, None] | unvoiced
    weight = torch.where(either, torch.exp(-switch), weight)
    weight = torch.where(unvoiced[:, None] & unvoiced, 1.0, weight)
    one = unvoiced[:, None] ^ unvoiced
    derivatives = (-distance * weight * (slides & ~either), -weight * (~slides & ~either), -weight * one)
    return weight, torch.stack(derivatives)


def settings_gradients(
    likelihood: Tensor,
    gradient: Tensor,
    messages: Tensor,
    tangents: Tensor,
    weight: Tensor,
    derivatives: Tensor,
) -> Tensor:
    """Gradients to slope, jump and switch `(3,)`, from `_messages` and `transition`.

    The derivative of log Z to a weight, along the gradient: of f W h / z, with h the backward message times
    the likelihood, for each pair of neighbouring frames and of states. Messages may have any scale.
    """
    after = (likelihood * messages[1])[:, 1:]
    d_after = (likelihood * (tangents[1] + messages[1] * gradient))[:, 1:]
    before, d_before = messages[0, :, :-1], tangents[0, :, :-1]
    d_after, after = (x / after.sum(-1, keepdim=True) for x in (d_after, after))
    d_before, before = (x / before.sum(-1, keepdim=True) for x in (d_before, before))
    led = before @ weight
    z = (led * after).sum(-1, keepdim=True)
    d_z = ((d_before @ weight) * after + led * d_after).sum(-1, keepdim=True)
    d_before = d_before - before * (d_z / z)
    pairs = torch.cat([d_before, before], 1).flatten(0, 1).t() @ torch.cat(
        [after / z, d_after / z], 1
    ).flatten(0, 1)
    return (derivatives * pairs).sum((1, 2))
