"""The lattice of pitches and one unvoiced state: its limits, transition weights, gradients to their costs."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_STATES = 2047  # that the kernels are compiled for


def check_lattice(emission: Tensor, band: int) -> None:
    """Raise ValueError for an emission `(..., P, N)` without pitches or frames, or a band below 0."""
    if 0 in emission.shape[-2:]:
        raise ValueError(f"emission must have one pitch and frame or more, got shape {tuple(emission.shape)}")
    if band < 0:
        raise ValueError(f"band must be 0 or more, got {band!r}")


def in_single(*tensors: Tensor | None) -> list[Tensor | None]:
    """Convert half precision to float32: sums over thousands of frames need it."""
    half = (torch.float16, torch.bfloat16)
    return [x if x is None or x.dtype not in half else x.float() for x in tensors]


def transition(
    states: int, rest: bool, band: int, slope: Tensor, jump: Tensor, switch: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute weights exp(-cost) of all steps, `(S, S)` from row to column, and derivatives `(3, S, S)`.

    The costs are those of `viterbi`, the derivatives those to slope, jump and switch.
    """
    state = torch.arange(states, device=slope.device)
    distance = (state[:, None] - state).abs().to(slope.dtype)
    cost = slope * distance
    steps = (distance <= band) & (cost <= jump)
    weight = torch.exp(-torch.where(steps, cost, jump))
    unvoiced = (state == states - 1) & rest
    either = unvoiced[:, None] | unvoiced
    weight = torch.where(either, torch.exp(-switch), weight)
    weight = torch.where(unvoiced[:, None] & unvoiced, 1.0, weight)
    switches = unvoiced[:, None] ^ unvoiced
    derivatives = (-distance * weight * (steps & ~either), -weight * (~steps & ~either), -weight * switches)
    return weight, torch.stack(derivatives)


def settings_gradients(
    likelihood: Tensor,
    gradient: Tensor,
    messages: Tensor,
    tangents: Tensor,
    weight: Tensor,
    derivatives: Tensor,
) -> Tensor:
    """Compute gradients to slope, jump and switch `(3,)`.

    The derivative of log Z to a weight, along the gradient: of f W h / z, with h the backward message times
    the likelihood, for each pair of successive frames and of states. Messages may have any scale.

    Args:
        likelihood: `(B, N, S)`.
        gradient: to the marginals, `(B, N, S)`.
        messages: forward and backward, `(2, B, N, S)`, the forward ones with their frame's likelihood.
        tangents: of the messages along the gradient.
        weight: from `transition`.
        derivatives: from `transition`.
    """
    after = (likelihood * messages[1])[:, 1:]
    d_after = (likelihood * (tangents[1] + messages[1] * gradient))[:, 1:]
    before, d_before = messages[0, :, :-1], tangents[0, :, :-1]
    d_after, after = (x / after.sum(-1, keepdim=True) for x in (d_after, after))
    d_before, before = (x / before.sum(-1, keepdim=True) for x in (d_before, before))
    forward = before @ weight
    z = (forward * after).sum(-1, keepdim=True)
    d_z = ((d_before @ weight) * after + forward * d_after).sum(-1, keepdim=True)
    d_before = d_before - before * (d_z / z)
    left = torch.cat([d_before, before], 1).flatten(0, 1)
    right = torch.cat([after / z, d_after / z], 1).flatten(0, 1)
    return (derivatives * (left.t() @ right)).sum((1, 2))
