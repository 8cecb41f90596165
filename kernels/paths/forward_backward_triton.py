"""Forward-backward on a GPU: likelihoods, the walk over the frames, and the marginals of all frames at once.

Three launches. `_likelihoods` transposes the scores, so that a frame is one row, scaled to a maximum of 1.
`forward_backward_walk_triton` walks over the frames in both directions. `_marginals` multiplies the
messages of both and transposes the result.

The gradient to the scores is the derivative of the marginals along the incoming gradient: marginals are the
derivative of a log partition function, whose Hessian is symmetric. So the backward pass is the same walk,
with the tangents of the messages beside them; nothing is saved from the forward pass. Gradients to the
costs, where asked for, are matrix products over all frames in plain torch.

Floor: scores read once, likelihoods and both messages written and read, marginals written: 36 bytes a
state and frame, 0.68 GB or 0.16 ms for 16 x 454 x 2584; and the walk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration
from torchprim.kernels.paths.forward_backward_walk_triton import ahead, walk
from torchprim.kernels.paths.ring import ring_memory
from torchprim.kernels.paths.transition import settings_gradients, transition
from torchprim.kernels.paths.viterbi_scores_triton import WARPS, shape

TILES = {"BLOCK_S": 32, "BLOCK_N": 32}
TILES_WARPS = 4


@triton.jit
def _likelihoods(
    scores_ptr, gradient_ptr, slope_ptr, jump_ptr, switch_ptr, likelihood_ptr, rows_gradient_ptr, weight_ptr,
    states, frames, width, side, band,
    BLOCK_S: tl.constexpr, BLOCK_N: tl.constexpr, TANGENT: tl.constexpr,
):  # fmt: skip
    """Compute exp(score - the frame's maximum) in rows, 0 beyond the states, and the weights of all steps."""
    item = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    row = (item * frames + n)[:, None] * width
    largest = tl.full((BLOCK_N,), float("-inf"), tl.float32)
    for first in range(0, states, BLOCK_S):
        s = first + tl.arange(0, BLOCK_S)
        inside = (s < states)[:, None] & (n < frames)[None, :]
        offset = (item * states + s)[:, None] * frames + n[None, :]
        tile = tl.load(scores_ptr + offset, mask=inside, other=float("-inf")).to(tl.float32)
        largest = tl.maximum(largest, tl.max(tile, 0))
    largest = tl.where(n < frames, largest, 0.0)
    for first in range(0, width, BLOCK_S):
        s = first + tl.arange(0, BLOCK_S)
        inside = (s < states)[:, None] & (n < frames)[None, :]
        offset = (item * states + s)[:, None] * frames + n[None, :]
        tile = tl.load(scores_ptr + offset, mask=inside, other=float("-inf")).to(tl.float32)
        tile = tl.where(inside, tl.exp(tile - largest[None, :]), 0.0)
        written = (n < frames)[:, None] & (s < width)[None, :]
        tl.store(likelihood_ptr + row + s[None, :], tl.trans(tile), mask=written)
        if TANGENT:
            tile = tl.load(gradient_ptr + offset, mask=inside, other=0.0).to(tl.float32)
            tl.store(rows_gradient_ptr + row + s[None, :], tl.trans(tile), mask=written)
    # Once, the table: a jump, a change of voicing; the weight of each step of the band minus that of a jump.
    once = (item == 0) & (tl.program_id(1) == 0)
    jump, switch = tl.load(jump_ptr), tl.load(switch_ptr)
    for first in range(0, 4 * side + 4, BLOCK_S):
        k = first + tl.arange(0, BLOCK_S)
        weight = tl.exp(-tl.minimum(tl.load(slope_ptr) * k.to(tl.float32), jump)) - tl.exp(-jump)
        weight = tl.where(k <= band, weight, 0.0)
        tl.store(weight_ptr + 2 + k, weight, mask=once & (k < 4 * side + 4))
    two = tl.arange(0, 2)
    tl.store(weight_ptr + two, tl.exp(-tl.where(two == 0, jump, switch)), mask=once & (two < 2))


@triton.jit
def _marginals(
    messages_ptr, tangents_ptr, out_ptr,
    states, frames, width,
    BLOCK_S: tl.constexpr, BLOCK_N: tl.constexpr, TANGENT: tl.constexpr,
):  # fmt: skip
    """Compute the product of both messages, scaled to a sum of 1, or its tangent; transposed to `(S, N)`."""
    item = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    forward = (item * frames + n)[:, None] * width
    backward = forward + tl.num_programs(0).to(tl.int64) * frames * width
    size = tl.zeros((BLOCK_N,), tl.float32)
    for first in range(0, states, BLOCK_S):
        s = first + tl.arange(0, BLOCK_S)
        inside = (n < frames)[:, None] & (s < states)[None, :]
        size += tl.sum(tl.load(messages_ptr + forward + s[None, :], mask=inside, other=0.0), 1)
    size = tl.where(n < frames, size, 1.0)[:, None]
    total = tl.zeros((BLOCK_N,), tl.float32)
    d_total = tl.zeros((BLOCK_N,), tl.float32)
    for write in tl.static_range(2):
        for first in range(0, states, BLOCK_S):
            s = first + tl.arange(0, BLOCK_S)
            inside = (n < frames)[:, None] & (s < states)[None, :]
            # Scaled before they are multiplied: the product of two small messages may underflow.
            f = tl.load(messages_ptr + forward + s[None, :], mask=inside, other=0.0) / size
            b = tl.load(messages_ptr + backward + s[None, :], mask=inside, other=0.0)
            share = f * b
            if TANGENT:
                d_f = tl.load(tangents_ptr + forward + s[None, :], mask=inside, other=0.0) / size
                d_b = tl.load(tangents_ptr + backward + s[None, :], mask=inside, other=0.0)
                d_share = d_f * b + f * d_b
            if write:
                share = share / total[:, None]
                if TANGENT:
                    share = d_share / total[:, None] - share * d_total[:, None]
                offset = (item * states + s)[:, None] * frames + n[None, :]
                inside = (s < states)[:, None] & (n < frames)[None, :]
                tl.store(out_ptr + offset, tl.trans(share).to(out_ptr.dtype.element_ty), mask=inside)
            else:
                total += tl.sum(share, 1)
                if TANGENT:
                    d_total += tl.sum(d_share, 1)
        total = tl.where(n < frames, total, 1.0)
        d_total = d_total / total


class Walk(NamedTuple):
    """Rows: likelihoods and gradient to the marginals `(B, N, 4T)`, messages and tangents `(2, B, N, 4T)`."""

    likelihood: Tensor
    gradient: Tensor
    messages: Tensor
    tangents: Tensor


def _walk(
    scores: Tensor,
    settings: tuple[Tensor, Tensor, Tensor],
    band: int,
    rest: bool,
    gradient: Tensor | None = None,
) -> Walk:
    items, states, frames = scores.shape
    T, side, unrolled = shape(states, band)
    like = {"dtype": torch.float32, "device": scores.device}
    likelihood = torch.empty(items, frames, 4 * T, **like)
    messages = torch.empty(2, items, frames, 4 * T, **like)
    tangent = gradient is not None
    rows_gradient, tangents = (torch.empty_like(x) if tangent else x for x in (likelihood, messages))
    weight = torch.empty(4 * side + 6, **like)
    ring = ring_memory(items * 2, (2 + 2 * tangent) * (5 * T + 8 * side), unrolled, messages)
    grid = (items, triton.cdiv(frames, TILES["BLOCK_N"]))
    scores = scores.contiguous()
    read = (scores, gradient.contiguous() if tangent else scores, *(x.float() for x in settings))
    sizes, constants = (states, frames, 4 * T, side, band), TILES | {"TANGENT": tangent}
    _likelihoods[grid](*read, likelihood, rows_gradient, weight, *sizes, **constants, num_warps=TILES_WARPS)
    rows = (likelihood, rows_gradient, weight, ring, messages, tangents)
    constants = {"T": T, "BAND": unrolled, "REST": rest, "TANGENT": tangent, "AHEAD": ahead(tangent)}
    walk[(items, 2)](*rows, states - rest, frames, side, **constants, num_warps=WARPS[T])
    return Walk(likelihood, rows_gradient, messages, tangents)


def _to_marginals(rows: Walk, scores: Tensor, tangent: bool) -> Tensor:
    """Compute the marginals, or their tangent, like the scores."""
    items, states, frames = scores.shape
    out = torch.empty(scores.shape, dtype=scores.dtype, device=scores.device)
    grid = (items, triton.cdiv(frames, TILES["BLOCK_N"]))
    sizes = (states, frames, rows.likelihood.shape[-1])
    _marginals[grid](
        rows.messages, rows.tangents, out, *sizes, **TILES, TANGENT=tangent, num_warps=TILES_WARPS
    )
    return out


def forward(scores: Tensor, slope: Tensor, jump: Tensor, switch: Tensor, band: int, rest: bool) -> Tensor:
    """Compute `forward_backward.reference` by kernels."""
    if not scores.numel():
        return torch.empty_like(scores)
    return _to_marginals(_walk(scores, (slope, jump, switch), band, rest), scores, False)


def backward(
    gradient: Tensor,
    scores: Tensor,
    slope: Tensor,
    jump: Tensor,
    switch: Tensor,
    band: int,
    rest: bool,
    settings: bool,
) -> tuple[Tensor, Tensor]:
    """Compute `forward_backward.reference_gradients` by kernels."""
    if not scores.numel():
        return torch.empty_like(scores), torch.zeros(3, dtype=slope.dtype, device=scores.device)
    rows = _walk(scores, (slope, jump, switch), band, rest, gradient)
    d_scores = _to_marginals(rows, scores, True)
    if not settings:
        return d_scores, torch.zeros(3, dtype=slope.dtype, device=scores.device)
    states = scores.shape[1]
    weights = transition(states, rest, band, *(x.float() for x in (slope, jump, switch)))
    return d_scores, settings_gradients(*(x[..., :states] for x in rows), *weights).to(slope.dtype)


def configurations() -> Iterator[Configuration]:
    """List all launches."""
    pointers = {name for name in (*_likelihoods.arg_names, *_marginals.arg_names) if name.endswith("_ptr")}
    types = dict.fromkeys(pointers, "*fp32")
    types |= dict.fromkeys(("states", "frames", "width", "side", "band"), "i32")
    for tangent in (False, True):
        for dtype in ("*fp32", "*fp16", "*bf16"):
            types |= dict.fromkeys(("scores_ptr", "gradient_ptr", "out_ptr"), dtype)
            common, constants = dtype == "*fp32", TILES | {"TANGENT": tangent}
            yield Configuration.of(_likelihoods, types, constants, TILES_WARPS, common=common)
            yield Configuration.of(_marginals, types, constants, TILES_WARPS, common=common)
