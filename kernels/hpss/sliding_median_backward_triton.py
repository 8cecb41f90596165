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
    """Gather: a sample was selected where the median equals it and none before it in the window does."""
    blocks = tl.cdiv(length * inner, BLOCK)
    plane = (tl.program_id(0) // blocks).to(tl.int64) * length * inner
    offset = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    i = offset // inner
    inside = offset < length * inner
    x = tl.load(x_ptr + plane + offset, mask=inside, other=0).to(tl.float32)
    back = tl.full((BLOCK,), WINDOW, dtype=tl.int32)  # to the nearest equal sample before
    for k in tl.static_range(WINDOW - 1, 0, -1):
        before = tl.load(x_ptr + plane + (offset - k * inner), mask=inside & (i >= k), other=float("nan"))
        back = tl.where(before.to(tl.float32) == x, k, back)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for k in tl.static_range(WINDOW):  # the sample is the k-th of the window
        output = i + (WINDOW // 2 - k)
        at = plane + (offset + (WINDOW // 2 - k) * inner)
        mask = inside & (output >= 0) & (output < length)
        median = tl.load(median_ptr + at, mask=mask, other=float("nan")).to(tl.float32)
        selected = (median == x) & (back > k)
        total += tl.load(gradient_ptr + at, mask=selected, other=0).to(tl.float32)
    if ADD:
        total += tl.load(out_ptr + plane + offset, mask=inside, other=0).to(tl.float32)
    tl.store(out_ptr + plane + offset, total, mask=inside)


def backward(
    gradient: Tensor,
    x: Tensor,
    median: Tensor,
    window: int,
    dim: int,
    out: Tensor | None = None,
    add: bool = False,
) -> Tensor:
    """Compute `sliding_median.reference_gradient` by kernels, into `out` if given, or added to it."""
    out = torch.empty_like(x, memory_format=torch.contiguous_format) if out is None else out
    outer, length, inner = planes(x, dim)
    block = TILES["BLOCK"]
    read = (t.contiguous() for t in (gradient, x, median))
    grid = (outer * triton.cdiv(length * inner, block),)
    _gradient[grid](*read, out, length, inner, window, add, block, num_warps=WARPS)
    return out


def configurations() -> Iterator[Configuration]:
    """List the launches for the windows in `COMPILED`."""
    for window in COMPILED:
        for dtype in ("*fp32", "*fp16", "*bf16") if window in DEFAULTS else ("*fp32",):
            tensors = dict.fromkeys(("gradient_ptr", "x_ptr", "median_ptr", "out_ptr"), dtype)
            signature = tensors | {"length": "i32", "inner": "i32"}
            for add in (False, True):
                constants = {"WINDOW": window, "ADD": add, **TILES}
                yield Configuration(_gradient, signature, constants, WARPS, common=add and window == 17)
