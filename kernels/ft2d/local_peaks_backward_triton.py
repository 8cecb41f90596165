"""Gradient of the peaks of a 2-D spectrum on a GPU, without atomics.

One kernel recomputes the slopes of each peak's window, four numbers an entry; in the other each entry
gathers them from the peaks around it. 16 x 1025 x 1293 complex numbers: 0.51 GB read and 0.34 GB written,
then the same the other way round, 0.4 ms at 4.3 TB/s; the loops over 25 or 35 neighbours, which stay in the
first cache, take as long again.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.ft2d.local_peaks_triton import half_offset, reflected
from torchprim.kernels.launch import Configuration

BLOCK = {"BLOCK": 256}
WARPS = 4


@triton.jit
def _product(x_ptr, y_ptr, offset, inside):
    """Compute the real part of x times the conjugate of y."""
    x = tl.load(x_ptr + 2 * offset, mask=inside, other=0.0)
    result = x * tl.load(y_ptr + 2 * offset, mask=inside, other=0.0)
    x = tl.load(x_ptr + 2 * offset + 1, mask=inside, other=0.0)
    return result + x * tl.load(y_ptr + 2 * offset + 1, mask=inside, other=0.0)


@triton.jit
def _level(x_ptr, offset, inside, over_top):
    """Compute |x| / top."""
    re = tl.load(x_ptr + 2 * offset, mask=inside, other=0.0) * over_top
    im = tl.load(x_ptr + 2 * offset + 1, mask=inside, other=0.0) * over_top
    return tl.sqrt(re * re + im * im)


@triton.jit
def _slopes(
    x_ptr, kept_ptr, d_kept_ptr, d_highest_ptr, where_ptr, slopes_ptr, partial_ptr,
    bins, frames, columns, rates, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute, for each peak, q / deviation, score / deviation, mean and score."""
    item = tl.program_id(2).to(tl.int64)
    plane = item * bins * columns
    x_ptr += 2 * plane
    kept_ptr += 2 * plane
    d_kept_ptr += 2 * plane
    row = tl.program_id(1)
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < columns
    index = row * columns + n
    top = tl.load(x_ptr)
    top = tl.where(top > 0, top, 1.0)
    level = _level(x_ptr, index, inside, 1.0 / top)
    score = _level(kept_ptr, index, inside, 1.0 / top)
    peak = inside & (score > 0)
    score = tl.where(peak, score / tl.where(peak, level, 1.0), 0.0)
    # A peak is an entry of its window: deviations from its level do not cancel.
    level = _level(x_ptr, half_offset(row + tl.zeros_like(n), n, bins, frames, columns), peak, 1.0 / top)
    total = tl.zeros((BLOCK,), tl.float32)
    squares = tl.zeros((BLOCK,), tl.float32)
    for offset in range(-(rates // 2), rates // 2 + 1):
        near = half_offset(row + tl.zeros_like(n), n + offset, bins, frames, columns)
        d = tl.where(peak, _level(x_ptr, near, peak, 1.0 / top) - level, 0.0)
        total += d
        squares += d * d
    mean = total / rates
    deviation = tl.sqrt(tl.maximum(squares / rates - mean * mean, 0.0))
    over = 1.0 / (deviation + 1e-7)
    d_highest = tl.load(d_highest_ptr + item)
    where = tl.load(where_ptr + item)
    q = _product(x_ptr, d_kept_ptr, index, peak) + tl.where(index == where, d_highest, 0.0)
    program = (item * bins + row) * tl.num_programs(0) + tl.program_id(0)
    tl.store(partial_ptr + program, tl.sum(tl.where(peak, q * score * over, 0.0)) * -1e-7 / top)
    # An entry of a column that is its own reflection stands for two.
    mirror = reflected(row, bins) * columns + n
    both = peak & ((n == 0) | (2 * n == frames))
    q += _product(x_ptr, d_kept_ptr, mirror, both) + tl.where(both & (mirror == where), d_highest, 0.0)
    slopes_ptr += 4 * plane + index
    step = tl.cast(bins, tl.int64) * columns
    tl.store(slopes_ptr, tl.where(peak, q * over, 0.0), mask=inside)
    slope = tl.where(deviation > 0, score / tl.where(deviation > 0, deviation, 1.0), 0.0)
    tl.store(slopes_ptr + step, slope, mask=inside)
    tl.store(slopes_ptr + 2 * step, level + mean, mask=inside)
    tl.store(slopes_ptr + 3 * step, score, mask=inside)


@triton.jit
def _spread(
    x_ptr, d_kept_ptr, slopes_ptr, d_top_ptr, out_ptr,
    bins, frames, columns, rates, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute the gradient to the spectrum: each entry gathers from the peaks of its neighbourhood."""
    plane = tl.program_id(2).to(tl.int64) * bins * columns
    x_ptr += 2 * plane
    row = tl.program_id(1)
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < columns
    top = tl.load(x_ptr)
    d_top = tl.where(top > 0, tl.load(d_top_ptr + tl.program_id(2)), 0.0)
    top = tl.where(top > 0, top, 1.0)
    m = _level(x_ptr, half_offset(row + tl.zeros_like(n), n, bins, frames, columns), inside, 1.0 / top)
    slopes_ptr += 4 * plane
    step = tl.cast(bins, tl.int64) * columns
    spread = tl.zeros((BLOCK,), tl.float32)
    mirror = reflected(row, bins)
    for offset in range(-(rates // 2), rates // 2 + 1):
        i = n + offset
        folded = (i < 0) | (i >= columns)
        i = tl.where(i < 0, -i, tl.where(i >= columns, frames - i, i))
        near = slopes_ptr + tl.where(folded, mirror, row) * columns + i
        a = tl.load(near, mask=inside, other=0.0)
        slope = tl.load(near + step, mask=inside & (a != 0), other=0.0)
        mean = tl.load(near + 2 * step, mask=inside & (a != 0), other=0.0)
        spread += a * (1 + slope * (m - mean))
    index = row * columns + n
    d_m = tl.load(slopes_ptr + index, mask=inside, other=0.0) - spread / rates
    weight = tl.where(row < mirror, 1.0, tl.where(row == mirror, 0.5, 0.0))
    d_m *= tl.where((n == 0) | (2 * n == frames), weight, 1.0)
    score = tl.load(slopes_ptr + 3 * step + index, mask=inside, other=0.0)
    # Along the entry's direction in the complex plane, x / m.
    pull = tl.where(m > 0, d_m / tl.where(m > 0, m, 1.0), 0.0) / top / top
    for part in range(2):
        d_kept = tl.load(d_kept_ptr + 2 * (plane + index) + part, mask=inside, other=0.0)
        x = tl.load(x_ptr + 2 * index + part, mask=inside, other=0.0)
        extra = tl.where((row == 0) & (n == 0) & (part == 0), d_top, 0.0)
        tl.store(out_ptr + 2 * (plane + index) + part, score * d_kept + pull * x + extra, mask=inside)


def backward(
    d_kept: Tensor, d_highest: Tensor, spectrum: Tensor, out: Tensor, where: Tensor, frames: int, rates: int
) -> Tensor:
    """Compute `local_peaks.reference_gradients` by kernels."""
    d_kept, d_highest, spectrum, out = (x.contiguous() for x in (d_kept, d_highest, spectrum, out))
    result = torch.empty_like(spectrum)
    if not spectrum.numel():
        return result
    bins, columns = spectrum.shape[-3:-1]
    grid = (triton.cdiv(columns, BLOCK["BLOCK"]), bins, where.numel())
    slopes = torch.empty(grid[2], 4, bins, columns, dtype=torch.float32, device=spectrum.device)
    d_top = torch.empty(grid[2], bins * grid[0], dtype=torch.float32, device=spectrum.device)
    sizes = (bins, frames, columns, rates)
    read = (spectrum, out, d_kept, d_highest, where)
    _slopes[grid](*read, slopes, d_top, *sizes, **BLOCK, num_warps=WARPS)
    _spread[grid](spectrum, d_kept, slopes, d_top.sum(1), result, *sizes, **BLOCK, num_warps=WARPS)
    return result


def configurations() -> Iterator[Configuration]:
    """List all launches."""
    names = {*_slopes.arg_names, *_spread.arg_names} - {"BLOCK"}
    types = {name: "*fp32" if name.endswith("_ptr") else "i32" for name in names} | {"where_ptr": "*i64"}
    for kernel in (_slopes, _spread):
        yield Configuration.of(kernel, types, BLOCK, WARPS)
