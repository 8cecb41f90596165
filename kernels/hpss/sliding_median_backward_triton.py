"""Gradient of running medians on a GPU, gathered: a sample looks at the medians of the windows that hold it.

Every sample reads at most window - 1 samples before it and a median for each of window outputs, from the
caches, and the gradients where it was selected: nothing is stored on the way, and no sum has an order that
changes. About 9 operations a window's sample: for 42 million samples and a window of 31, 0.4 ms of an H200.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.hpss.sliding_median_triton import COMPILED, DEFAULTS, planes
from torchprim.kernels.launch import Configuration

TILES = {"BLOCK": 256}
WARPS = 4


@triton.jit
def _gradient(
    gradient_ptr, x_ptr, median_ptr, out_ptr, length, inner,
    WINDOW: tl.constexpr, ADD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A sample was selected where the median equals it and no equal sample comes before it in the window."""
    blocks = tl.cdiv(length * inner, BLOCK)
    plane = (tl.program_id(0) // blocks).to(tl.int64) * length * inner
    place = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    i = place // inner
    within = place < length * inner
    x = tl.load(x_ptr + plane + place, mask=within, other=0).to(tl.float32)
    back = tl.full((BLOCK,), WINDOW, dtype=tl.int32)  # to the nearest equal sample before
    for k in tl.static_range(WINDOW - 1, 0, -1):
        before = tl.load(x_ptr + plane + (place - k * inner), mask=within & (i >= k), other=float("nan"))
        back = tl.where(before.to(tl.float32) == x, k, back)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for k in tl.static_range(WINDOW):  # the sample is the k-th of the window
        output = i + (WINDOW // 2 - k)
        there = plane + (place + (WINDOW // 2 - k) * inner)
        within_too = within & (output >= 0) & (output < length)
        median = tl.load(median_ptr + there, mask=within_too, other=float("nan")).to(tl.float32)
        chosen = (median == x) & (back > k)
        total += tl.load(gradient_ptr + there, mask=chosen, other=0).to(tl.float32)
    if ADD:
        total += tl.load(out_ptr + plane + place, mask=within, other=0).to(tl.float32)
    tl.store(out_ptr + plane + place, total, mask=within)


def backward(
    gradient: Tensor,
    x: Tensor,
    median: Tensor,
    window: int,
    dim: int,
    out: Tensor | None = None,
    add: bool = False,
) -> Tensor:
    """As `sliding_median.reference_gradient`; written into `out`, or added to it."""
    out = torch.empty_like(x, memory_format=torch.contiguous_format) if out is None else out
    outer, length, inner = planes(x, dim)
    block = TILES["BLOCK"]
    read = (t.contiguous() for t in (gradient, x, median))
    grid = (outer * triton.cdiv(length * inner, block),)
    _gradient[grid](*read, out, length, inner, window, add, block, num_warps=WARPS)
    return out


def configurations() -> Iterator[Configuration]:
    """What can be launched, for the windows in `COMPILED`."""
    for window in COMPILED:
        for kind in ("*fp32", "*fp16", "*bf16") if window in DEFAULTS else ("*fp32",):
            tensors = dict.fromkeys(("gradient_ptr", "x_ptr", "median_ptr", "out_ptr"), kind)
            signature = tensors | {"length": "i32", "inner": "i32"}
            for add in (False, True):
                constants = {"WINDOW": window, "ADD": add, **TILES}
                yield Configuration(_gradient, signature, constants, WARPS, common=add and window == 17)
