"""Soft assignment on a GPU: each mask is read once, no intermediate result is stored.

Bytes of a bin with D masks: 4 D in, 4 out, and 4 in for the magnitude. 16 x 1025 x 2584 bins are 42.4
million: with 4 masks 0.20 ms at 4.3 TB/s, with 5 and the magnitude 0.28 ms. Some 50 operations a bin take
0.08 ms and hide behind the reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration

BLOCK = 1024  # bins of a program
# The gradients hold all masks at once: more threads, each with fewer bins.
FORWARD_WARPS, BACKWARD_WARPS = 4, 8


@triton.jit
def _place(count, BLOCK: tl.constexpr):
    """Return a program's first bin, in 64 bits, the others from there, in 32, and which of them exist."""
    first = tl.program_id(0).to(tl.int64) * BLOCK
    offset = tl.arange(0, BLOCK)
    return first, offset, offset < count - first


@triton.jit
def _load(masks, weights_ptr, first, offset, inside, D: tl.constexpr):
    """Load the masks; return them and their distances to 0 and to 1."""
    to_zero = tl.zeros(inside.shape, dtype=tl.float32)
    to_one = tl.zeros(inside.shape, dtype=tl.float32)
    values = ()
    for d in tl.static_range(D):
        x = tl.load(masks[d] + first + offset, mask=inside, other=0.0).to(tl.float32)
        w = tl.load(weights_ptr + d).to(tl.float32)
        to_zero += w * x * x
        to_one += w * (1.0 - x) * (1.0 - x)
        values = values + (x,)  # noqa: RUF005  (what Triton compiles)
    return values, tl.sqrt(to_zero), tl.sqrt(to_one)


@triton.jit
def _forward(
    masks, weights_ptr, beta_ptr, magnitude_ptr, out_ptr, count,
    D: tl.constexpr, GATED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first, offset, inside = _place(count, BLOCK)
    _, to_zero, to_one = _load(masks, weights_ptr, first, offset, inside, D)
    mask = tl.sigmoid(tl.load(beta_ptr).to(tl.float32) * (to_zero - to_one))
    if GATED:
        magnitude = tl.load(magnitude_ptr + first + offset, mask=inside, other=0.0)
        mask = tl.where(magnitude != 0.0, mask, 0.0)
    tl.store(out_ptr + first + offset, mask, mask=inside)


@triton.jit
def _backward(
    gradient_ptr, masks, weights_ptr, beta_ptr, magnitude_ptr, of_masks, partials_ptr, count,
    D: tl.constexpr, GATED: tl.constexpr, OF_MASKS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute all gradients; those of weights and beta as partial sums of each program: no atomics."""
    first, offset, inside = _place(count, BLOCK)
    values, to_zero, to_one = _load(masks, weights_ptr, first, offset, inside, D)
    beta = tl.load(beta_ptr).to(tl.float32)
    mask = tl.sigmoid(beta * (to_zero - to_one))
    slope = (
        tl.load(gradient_ptr + first + offset, mask=inside, other=0.0).to(tl.float32) * mask * (1.0 - mask)
    )
    if GATED:
        magnitude = tl.load(magnitude_ptr + first + offset, mask=inside, other=0.0)
        slope = tl.where(magnitude != 0.0, slope, 0.0)
    partials_ptr += tl.program_id(0).to(tl.int64) * (D + 1)
    tl.store(partials_ptr + D, tl.sum(slope * (to_zero - to_one)))
    slope *= beta
    # The derivative of a distance of 0 is 0.
    by_zero = tl.where(to_zero > 0.0, slope / tl.where(to_zero > 0.0, to_zero, 1.0), 0.0)
    by_one = tl.where(to_one > 0.0, slope / tl.where(to_one > 0.0, to_one, 1.0), 0.0)
    for d in tl.static_range(D):
        x = values[d]
        if OF_MASKS:
            w = tl.load(weights_ptr + d).to(tl.float32)
            tl.store(of_masks[d] + first + offset, w * (x * by_zero + (1.0 - x) * by_one), mask=inside)
        tl.store(partials_ptr + d, 0.5 * tl.sum(x * x * by_zero - (1.0 - x) * (1.0 - x) * by_one))


def forward(masks: Sequence[Tensor], weights: Tensor, beta: Tensor, magnitude: Tensor | None) -> Tensor:
    """Compute `soft_assignment.reference` by kernels."""
    masks = tuple(mask.contiguous() for mask in masks)
    out = torch.empty_like(masks[0], dtype=weights.dtype)
    gate = out if magnitude is None else magnitude.contiguous()
    if count := out.numel():
        _forward[(triton.cdiv(count, BLOCK),)](
            masks, weights.contiguous(), beta, gate, out, count,
            D=len(masks), GATED=magnitude is not None, BLOCK=BLOCK, num_warps=FORWARD_WARPS,
        )  # fmt: skip
    return out


def backward(
    gradient: Tensor,
    masks: Sequence[Tensor],
    weights: Tensor,
    beta: Tensor,
    magnitude: Tensor | None,
    of_masks: bool,
) -> list[Tensor]:
    """Compute `soft_assignment.reference_gradients` by kernels."""
    masks = tuple(mask.contiguous() for mask in masks)
    d_masks = [torch.empty_like(mask) for mask in masks] if of_masks else []
    depth, count = len(masks), masks[0].numel()
    programs = triton.cdiv(count, BLOCK)
    partials = torch.empty(programs, depth + 1, dtype=torch.float32, device=gradient.device)
    gate = masks[0] if magnitude is None else magnitude.contiguous()
    if count:
        _backward[(programs,)](
            gradient.contiguous(), masks, weights.contiguous(), beta, gate,
            tuple(d_masks) or masks, partials, count, D=depth, GATED=magnitude is not None,
            OF_MASKS=of_masks, BLOCK=BLOCK, num_warps=BACKWARD_WARPS,
        )  # fmt: skip
    sums = [partials[:, :depth].sum(0).to(weights.dtype), partials[:, depth].sum().to(beta.dtype)]
    return [*sums, *d_masks]


def configurations() -> Iterator[Configuration]:
    """List all launches, for 4 masks (preset `paper`), 5 (`best`), 8, 20 of an embedding; in float16, too."""
    names = ("weights_ptr", "beta_ptr", "magnitude_ptr", "out_ptr", "gradient_ptr", "partials_ptr")
    types = {"count": "i32", **dict.fromkeys(names, "*fp32")}
    for depth, dtype in ((4, "*fp32"), (5, "*fp32"), (8, "*fp32"), (20, "*fp32"), (4, "*fp16"), (5, "*fp16")):
        types |= dict.fromkeys(("masks", "of_masks"), (dtype,) * depth)
        for gated in (False, True) if depth < 20 else (False,):
            common = (depth, dtype, gated) == (5, "*fp32", True)  # it holds all of the others
            constants = {"D": depth, "GATED": gated, "BLOCK": BLOCK}
            yield Configuration.of(_forward, types, constants, FORWARD_WARPS, common=common)
            constants["OF_MASKS"] = True
            yield Configuration.of(_backward, types, constants, BACKWARD_WARPS, common=common)
