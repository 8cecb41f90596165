"""Median of whole rows on a GPU: a bisection on the bits of the median, with the row in registers.

Floating-point numbers sort like the integers of their bits. From the highest bit down, one count over the
row decides whether the median lies in the upper half of the remaining range; the search ends when one
sample is left, after 20 counts on music. For 16 x 454 rows of 2,584 frames: 75 MB read, 0.02 ms at
4.3 TB/s; the counts, 129 instructions of a warp each, take 0.16 ms at 60 % of the issue slots. The radix
selection of `torch.median` makes 16 passes of some 25 instructions a sample, and as much at its barriers.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration
from torchprim.kernels.layout import rows

# Samples in registers -> warps, so that a thread holds 8 to 64; longer rows are sorted.
WARPS = {256: 1, 1024: 2, 4096: 4, 8192: 8, 32768: 16}
BACKWARD = {"BLOCK": 1024}
BACKWARD_WARPS = 4


@triton.jit
def _forward(x_ptr, out_ptr, row_stride, frames, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * row_stride + i, mask=i < frames, other=0.0).to(tl.float32)
    missing = tl.max((x != x).to(tl.int32), 0) > 0
    bits = x.to(tl.int32, bitcast=True)
    key = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    key = tl.where(i < frames, key, 0x7FFFFFFF)
    rank = (frames - 1) // 2

    # The median is at least `low`; `below` samples are smaller than low, `upto` than the end of the range.
    negative = tl.sum((key < 0).to(tl.int32), 0)
    low = tl.where(negative > rank, -2147483648, 0)
    below = tl.where(negative > rank, 0, negative)
    upto = tl.where(negative > rank, negative, frames)
    bit = 30
    while (bit >= 0) & (upto - below > 1):
        middle = low + (1 << bit)
        count = tl.sum((key < middle).to(tl.int32), 0)
        upper = count <= rank
        low = tl.where(upper, middle, low)
        below = tl.where(upper, count, below)
        upto = tl.where(upper, upto, count)
        bit -= 1
    # One sample is left, or several equal ones: the smallest from `low` on.
    key = tl.min(tl.where(key >= low, key, 0x7FFFFFFF), 0)
    bits = tl.where(key < 0, key ^ 0x7FFFFFFF, key)
    median = tl.where(missing, float("nan"), bits.to(tl.float32, bitcast=True))
    tl.store(out_ptr + row, median)


@triton.jit
def _backward(gradient_ptr, x_ptr, median_ptr, d_x_ptr, row_stride, frames, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    median = tl.load(median_ptr + row)
    gradient = tl.load(gradient_ptr + row)
    selected = frames
    for first in range(0, frames, BLOCK):
        i = first + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * row_stride + i, mask=i < frames, other=float("nan"))
        selected = tl.minimum(selected, tl.min(tl.where(x == median, i, frames), 0))
    for first in range(0, frames, BLOCK):
        i = first + tl.arange(0, BLOCK)
        d_x = tl.where(i == selected, gradient, 0.0)
        tl.store(d_x_ptr + row * frames + i, d_x.to(d_x_ptr.dtype.element_ty), mask=i < frames)


def _block(frames: int) -> int | None:
    return next((block for block in WARPS if block >= frames), None)


def forward(x: Tensor) -> Tensor:
    """Compute `row_median.reference` by kernels."""
    frames = x.shape[-1]
    block = _block(frames)
    if block is None:
        return x.sort(-1).values[..., (frames - 1) // 2].clone()
    out = torch.empty(x.shape[:-1], dtype=x.dtype, device=x.device)
    if x.numel():
        x = rows(x)
        _forward[(len(x),)](x, out, x.stride(0), frames, BLOCK=block, num_warps=WARPS[block])
    return out


def backward(gradient: Tensor, x: Tensor, median: Tensor) -> Tensor:
    """Compute `row_median.reference_gradient` by kernels."""
    d_x = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if x.numel():
        x = rows(x)
        arguments = (gradient.contiguous(), x, median.contiguous(), d_x, x.stride(0), x.shape[-1])
        _backward[(len(x),)](*arguments, **BACKWARD, num_warps=BACKWARD_WARPS)
    return d_x


def configurations() -> Iterator[Configuration]:
    """List all launches."""
    types = {"row_stride": "i32", "frames": "i32"}
    for dtype in ("*fp32", "*fp16", "*bf16"):
        types |= dict.fromkeys(("x_ptr", "out_ptr", "gradient_ptr", "median_ptr", "d_x_ptr"), dtype)
        for block, warps in WARPS.items():
            common = dtype == "*fp32" and block == 4096
            yield Configuration.of(_forward, types, {"BLOCK": block}, warps, common=common)
        yield Configuration.of(_backward, types, BACKWARD, BACKWARD_WARPS, common=dtype == "*fp32")
