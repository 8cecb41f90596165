"""Peaks of a 2-D spectrum on a GPU: the half plane is read once and written once.

16 x 1024 x 1293 complex numbers are 170 MB each way: 0.08 ms at 4.3 TB/s.

A warp computes 32 scales and K neighbouring rates, and loads the 64 rates around them, coalesced; then
each thread gets the 64 levels of one scale in registers. A group of outputs shares the core, the
intersection of their windows. Output j adds the entries before the core and those after it from running
totals over either side: 4 operations an output and statistic for any window. Deviations are taken from the
mean of the core, a third of a window or more, so that the sum of their squares is at most three times the
sum about the window's mean: nothing cancels in float32.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration

SCALES = 32  # of a program: one a thread
READ = 64  # rates that a program reads
WRITTEN = 32  # rates that it writes, at most
WARPS = 1
FINISH = {"BLOCK": 1024}


@triton.jit
def reflected(row, bins):
    """Map scale k to -k modulo `bins`."""
    return tl.where(row == 0, 0, bins - row)


@triton.jit
def half_offset(row, n, bins, frames, columns):
    """Return the offset in the half plane of scale `row` at rate `n`, from -columns to `frames`."""
    folded = (n < 0) | (n >= columns)
    column = tl.where(n < 0, -n, tl.where(n >= columns, frames - n, n))
    row = tl.where(folded, reflected(row, bins), row)
    # A column that is its own reflection is read at the lower index of a pair: symmetric to the last bit.
    symmetric = (column == 0) | (2 * column == frames)
    return tl.where(symmetric, tl.minimum(row, reflected(row, bins)), row) * columns + column


@triton.jit
def _columns(x, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Split a tile into a tuple of its columns: each thread then holds a row in registers."""
    if COLUMNS == 1:
        return (tl.reshape(x, (ROWS,)),)
    else:
        left, right = tl.split(tl.permute(tl.reshape(x, (ROWS, 2, COLUMNS // 2)), (0, 2, 1)))
        return _columns(left, ROWS, COLUMNS // 2) + _columns(right, ROWS, COLUMNS // 2)


@triton.jit
def _tile(columns, FIRST: tl.constexpr, STEP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Invert `_columns`; missing columns are the first one again."""
    if COLUMNS == 1:
        return tl.reshape(columns[FIRST if len(columns) > FIRST else 0], (ROWS, 1))
    else:
        even = _tile(columns, FIRST, 2 * STEP, ROWS, COLUMNS // 2)
        odd = _tile(columns, FIRST + STEP, 2 * STEP, ROWS, COLUMNS // 2)
        return tl.reshape(tl.join(even, odd), (ROWS, COLUMNS))


@triton.jit
def _scores(x, FIRST: tl.constexpr, SIZE: tl.constexpr, RATES: tl.constexpr):
    """Compute the scores of the outputs FIRST .. FIRST + SIZE - 1, 0 where there is no peak.

    Output i has the window x[i], ..., x[i + RATES - 1]; the group shares x[LOW], ..., x[HIGH - 1].
    """
    LOW: tl.constexpr = FIRST + SIZE - 1
    HIGH: tl.constexpr = FIRST + RATES
    # Relative to one of its entries, so that a flat neighbourhood has deviations of exactly 0.
    offset = x[LOW] * 0.0
    for i in tl.static_range(LOW + 1, HIGH):
        offset += x[i] - x[LOW]
    pivot = x[LOW] + offset * (1.0 / (HIGH - LOW))
    highest = x[LOW]
    d = x[LOW] - pivot
    total = d
    squares = d * d
    for i in tl.static_range(LOW + 1, HIGH):
        d = x[i] - pivot
        highest = tl.maximum(highest, x[i])
        total += d
        squares += d * d
    # From the core towards lower rates: the totals before it of the outputs SIZE - 1, SIZE - 2, ... FIRST.
    before = ((highest, total, squares),)
    for step in tl.static_range(1, SIZE):
        d = x[LOW - step] - pivot
        highest = tl.maximum(highest, x[LOW - step])
        total += d
        squares += d * d
        before = before + ((highest, total, squares),)  # noqa: RUF005
    highest = x[LOW] * 0.0
    total = highest
    squares = highest
    scores = ()
    for i in tl.static_range(SIZE):
        if i > 0:
            d = x[HIGH + i - 1] - pivot
            highest = tl.maximum(highest, x[HIGH + i - 1])
            total += d
            squares += d * d
        most = tl.maximum(highest, before[SIZE - 1 - i][0])
        mean = (total + before[SIZE - 1 - i][1]) * (1.0 / RATES)
        variance = (squares + before[SIZE - 1 - i][2]) * (1.0 / RATES) - mean * mean
        guarded = tl.sqrt(tl.maximum(variance, 0.0)) + 1e-7
        middle = x[FIRST + i + RATES // 2]
        d = middle - pivot - mean
        score = d * tl.rsqrt(guarded * guarded)
        scores = scores + (tl.where((middle == most) & (d > 0), score, 0.0),)  # noqa: RUF005
    return scores


@triton.jit
def _peaks(
    x_ptr, out_ptr, partial_ptr, where_ptr,
    bins, frames, columns,
    RATES: tl.constexpr, OUTPUTS: tl.constexpr, GROUP: tl.constexpr,
    SCALES: tl.constexpr, READ: tl.constexpr, WRITTEN: tl.constexpr,
):  # fmt: skip
    """Compute the peaks of SCALES x OUTPUTS entries, their maximum and its index."""
    item = tl.program_id(0).to(tl.int64)
    x_ptr += 2 * item * bins * columns
    start = tl.program_id(1) * OUTPUTS
    row = (tl.program_id(2) * SCALES + tl.arange(0, SCALES))[:, None]
    first = start - RATES // 2
    used: tl.constexpr = OUTPUTS + RATES - 1
    top = tl.load(x_ptr)
    over_top = 1.0 / tl.where(top > 0, top, 1.0)

    # Real and imaginary parts interleaved: loads of 8 bytes a thread, a row of 512 bytes.
    pair = tl.arange(0, 2 * READ)[None, :]
    inside = (row < bins) & (pair < 2 * used)
    if (first < 1) | (first + used >= columns):
        n = first + pair // 2
        offset = 2 * half_offset(row, n, bins, frames, columns) + pair % 2
        both = tl.load(x_ptr + offset, mask=inside & (n < columns + RATES // 2), other=0.0)
    else:
        both = tl.load(x_ptr + 2 * (row * columns + first) + pair, mask=inside, other=0.0)
    re, im = tl.split(tl.reshape(both * over_top, (SCALES, READ, 2)))
    x = _columns(tl.sqrt(re * re + im * im), SCALES, READ)
    scores = ()
    for i in tl.static_range(0, OUTPUTS, GROUP):
        scores = scores + _scores(x, i, GROUP if i + GROUP <= OUTPUTS else OUTPUTS - i, RATES)

    j = tl.arange(0, WRITTEN)[None, :]
    inside = (row < bins) & (start + j < columns) & (j < OUTPUTS)
    score = tl.where(inside, _tile(scores, 0, 1, SCALES, WRITTEN), 0.0)
    most = tl.max(score)
    program = (item * tl.num_programs(2) + tl.program_id(2)) * tl.num_programs(1) + tl.program_id(1)
    tl.store(partial_ptr + program, most)
    where = tl.where(inside & (score == most), row * columns + start + j, bins * columns)
    tl.store(where_ptr + program, tl.min(where))
    # The spectrum is loaded again at the peaks only.
    pair = tl.arange(0, 2 * WRITTEN)[None, :]
    score = tl.reshape(tl.join(score, score), (SCALES, 2 * WRITTEN))
    inside = (row < bins) & (pair < 2 * tl.minimum(OUTPUTS, columns - start))
    offset = 2 * (row * columns + start) + pair
    value = tl.load(x_ptr + offset, mask=inside & (score > 0), other=0.0)
    tl.store(out_ptr + 2 * item * bins * columns + offset, score * value, mask=inside)


@triton.jit
def _finish(partial_ptr, partial_where_ptr, highest_ptr, where_ptr, programs, BLOCK: tl.constexpr):
    """Reduce the maxima of the programs to that of an item, and its first index."""
    item = tl.program_id(0).to(tl.int64)
    most = tl.full((BLOCK,), -1.0, tl.float32)
    where = tl.full((BLOCK,), 2**31 - 1, tl.int32)
    for first in range(0, programs, BLOCK):
        i = first + tl.arange(0, BLOCK)
        value = tl.load(partial_ptr + item * programs + i, mask=i < programs, other=-1.0)
        index = tl.load(partial_where_ptr + item * programs + i, mask=i < programs, other=2**31 - 1)
        where = tl.where(value > most, index, tl.where(value == most, tl.minimum(where, index), where))
        most = tl.maximum(most, value)
    highest = tl.max(most)
    tl.store(highest_ptr + item, highest)
    tl.store(where_ptr + item, tl.min(tl.where(most == highest, where, 2**31 - 1)).to(tl.int64))


def _constants(rates: int) -> dict[str, int]:
    outputs = min(WRITTEN, READ - rates + 1)
    groups = -(-outputs // max(1, 2 * (rates + 1) // 3))  # the core is a third of a window or more
    constants = {"RATES": rates, "OUTPUTS": outputs, "GROUP": -(-outputs // groups)}
    return constants | {"SCALES": SCALES, "READ": READ, "WRITTEN": WRITTEN}


def forward(spectrum: Tensor, frames: int, rates: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `local_peaks.reference` by kernels."""
    spectrum = spectrum.contiguous()
    out = torch.empty_like(spectrum)
    highest = torch.empty(spectrum.shape[:-3], dtype=torch.float32, device=spectrum.device)
    where = torch.empty(spectrum.shape[:-3], dtype=torch.int64, device=spectrum.device)
    if not spectrum.numel():
        return out, highest, where
    bins, columns = spectrum.shape[-3:-1]
    constants = _constants(rates)
    grid = (highest.numel(), triton.cdiv(columns, constants["OUTPUTS"]), triton.cdiv(bins, SCALES))
    partial = torch.empty(grid[0], grid[1] * grid[2], dtype=torch.float32, device=spectrum.device)
    partial_where = torch.empty(partial.shape, dtype=torch.int32, device=spectrum.device)
    sizes = (bins, frames, columns)
    _peaks[grid](spectrum, out, partial, partial_where, *sizes, **constants, num_warps=WARPS)
    _finish[(len(partial),)](partial, partial_where, highest, where, partial.shape[1], **FINISH)
    return out, highest, where


def configurations() -> Iterator[Configuration]:
    """List all launches."""
    sizes = dict.fromkeys(("bins", "frames", "columns"), "i32")
    tensors = dict.fromkeys(("x_ptr", "out_ptr", "partial_ptr"), "*fp32") | {"where_ptr": "*i32"}
    for rates in range(1, READ, 2):
        yield Configuration(_peaks, tensors | sizes, _constants(rates), WARPS, common=rates in (25, 35))
    tensors = dict.fromkeys(("partial_ptr", "highest_ptr"), "*fp32")
    tensors |= {"partial_where_ptr": "*i32", "where_ptr": "*i64", "programs": "i32"}
    yield Configuration(_finish, tensors, FINISH)
