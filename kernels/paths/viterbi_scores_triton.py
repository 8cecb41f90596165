"""Banded Viterbi on a GPU, the serial part: scores of the best paths to all states, frame by frame.

`_rows` transposes the emissions, so that a frame is one row, and pads it with -inf: no later load needs a
mask. `_scores` walks over the frames, one program an item. It stores no indices: a maximum costs an
addition and a comparison a candidate, its index two instructions more, and `viterbi_triton` finds them from
the scores for all frames at once.

Floor of the whole operator: emissions read once, written and read once in rows, scores written over them
and read once, 16-bit pointers written and read: 24 bytes a pitch and frame, 0.45 GB or 0.10 ms for
16 x 454 x 2584. The serial part takes longer. A frame costs the 33 x 512 maxima of the band, of which a
multiprocessor computes 64 a clock: 264 clocks or 0.15 µs at 1.8 GHz, 0.4 ms for 2584 frames; plus an
exchange between the threads with one barrier, and one maximum over all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration

ROWS = {"BLOCK_S": 32, "BLOCK_N": 64}
ROWS_WARPS = 4
# A thread holds a group of four neighbouring states, loaded as 16 bytes. Groups T -> warps:
WARPS = {32: 1, 64: 2, 128: 4, 256: 8, 512: 16, 1024: 16}
# Up to here the band is unrolled and its costs stay in registers; a wider one is a loop, and so is any
# band of a thousand groups, of which a thread has two.
UNROLLED, UNROLLED_GROUPS = 32, 512


@triton.constexpr_function
def step(x, q, r):
    """Return the step in states from state r of a group of four to state q of the group x further."""
    return 4 * x + q - r


@triton.constexpr_function
def distance(x, q, r):
    """Return the size of a `step`."""
    return abs(4 * x + q - r)


@triton.constexpr_function
def band_groups(band):
    """Return how many groups of four a band touches on either side."""
    return (band + 3) // 4


@triton.jit
def split_columns(x, T: tl.constexpr):
    """Split `(T, 4)` into four columns, which lie in a thread's registers."""
    even, odd = tl.split(tl.reshape(x, (T, 2, 2)))
    x0, x2 = tl.split(even)
    x1, x3 = tl.split(odd)
    return x0, x1, x2, x3


@triton.jit
def join_columns(x0, x1, x2, x3, T: tl.constexpr):
    """Join four columns to `(T, 4)`."""
    return tl.reshape(tl.join(tl.join(x0, x2), tl.join(x1, x3)), (T, 4))


@triton.jit
def fold_band(
    near: tl.constexpr, far: tl.constexpr, start, own, row_ptr, index, table, table_ptr, side,
    T: tl.constexpr, BAND: tl.constexpr,
):  # fmt: skip
    """Fold the states within the band of each state, in ascending order, into four columns.

    Args:
        near: `(value, columns, table, x, r, BAND)` -> value: folds the group x further into column r, by
            a table in registers.
        far: `(value, columns, table_ptr, x, r)` -> value: the same, by a table in memory.
        start: initial values of the four columns.
        own: the states as columns, or None to load them from the row, too.
        row_ptr: states of a frame, `side` groups of padding on either side.
        index: of the states in a row, `(T, 4)`.
        table: of each distance, from `load_table`.
        table_ptr: the same in memory.
        side: groups of the band on either side, where it is a loop (BAND < 0).
    """
    a0, a1, a2, a3 = start
    if BAND >= 0:
        for x in tl.static_range(-band_groups(BAND), band_groups(BAND) + 1):
            columns = own
            if own is None or x != 0:
                columns = split_columns(tl.load(row_ptr + 4 * x + index), T)
            a0 = near(a0, columns, table, x, 0, BAND)
            a1 = near(a1, columns, table, x, 1, BAND)
            a2 = near(a2, columns, table, x, 2, BAND)
            a3 = near(a3, columns, table, x, 3, BAND)
    else:
        for x in range(-side, side + 1):
            columns = split_columns(tl.load(row_ptr + 4 * x + index), T)
            a0 = far(a0, columns, table_ptr, x, 0)
            a1 = far(a1, columns, table_ptr, x, 1)
            a2 = far(a2, columns, table_ptr, x, 2)
            a3 = far(a3, columns, table_ptr, x, 3)
    return a0, a1, a2, a3


@triton.jit
def _rows(
    emission_ptr, rows_ptr, cost_ptr,
    pitches, frames, width, side, band, slope,
    BLOCK_S: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Transpose emissions `(P, N)` to rows of frames, padded with -inf; tabulate the costs of distances."""
    item = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    s = tl.program_id(2) * BLOCK_S + tl.arange(0, BLOCK_S)
    inside = (s < pitches)[:, None] & (n < frames)[None, :]
    offset = (item * pitches + s)[:, None] * frames + n[None, :]
    tile = tl.load(emission_ptr + offset, mask=inside, other=float("-inf")).to(tl.float32)
    row = 4 * (side + (item * frames + n)[:, None] * width) + s[None, :]
    tl.store(rows_ptr + row, tl.trans(tile), mask=(n < frames)[:, None] & (s < 4 * width)[None, :])
    # Once: the padding before the first row, and the table for all distances of a loop.
    once = (item == 0) & (tl.program_id(1) == 0)
    tl.store(rows_ptr + s, tl.full((BLOCK_S,), float("-inf"), tl.float32), mask=once & (s < 4 * side))
    cost = tl.where(s <= band, slope * s.to(tl.float32), float("inf"))
    tl.store(cost_ptr + s, cost, mask=once & (s < 4 * side + 4))


@triton.jit
def load_table(table_ptr, BAND: tl.constexpr):
    """Load a table of all distances in the band into registers."""
    table = ()
    for k in tl.static_range(BAND + 1):
        table += (tl.load(table_ptr + k),)
    return table


@triton.jit
def _best_near(best, columns, table, x: tl.constexpr, r: tl.constexpr, BAND: tl.constexpr):
    """Update the best score of column r by the group x further."""
    for q in tl.static_range(4):
        if distance(x, q, r) <= BAND:
            best = tl.maximum(best, columns[q] - table[distance(x, q, r)])
    return best


@triton.jit
def _best_far(best, columns, cost_ptr, x, r: tl.constexpr):
    """Do as `_best_near`, with the table in memory: infinite beyond the band."""
    for q in tl.static_range(4):
        best = tl.maximum(best, columns[q] - tl.load(cost_ptr + tl.abs(4 * x + q - r)))
    return best


@triton.jit
def _sortable(bits):
    """Map bits of floats to integers of the same order, and back: a warp has a maximum of integers."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _warp_maxima(score, T: tl.constexpr):
    """Compute for each thread the largest of its warp's 128 scores, as `_sortable` integers."""
    largest = _sortable(tl.max(score, 1).to(tl.int32, bitcast=True))
    largest = tl.max(tl.reshape(largest, (T // 32, 32)), 1)
    return tl.reshape(tl.broadcast_to(largest[:, None], (T // 32, 32)), (T,))


@triton.jit
def _scores(
    rows_ptr, rest_ptr, ring_ptr, tops_ptr, cost_ptr,
    frames, side, jump, switch,
    T: tl.constexpr, BAND: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    """Compute scores of the best paths to each state, in place of the emissions.

    Neighbours exchange scores through a ring of two rows in global memory, small enough for the L1 cache.
    One barrier a frame suffices: all threads of a block see after it what any of them stored before. A row
    of the ring is overwritten two frames later, after the barrier of the next frame, which a thread reaches
    only when it has loaded the row.
    """
    item = tl.program_id(0).to(tl.int64)
    index = 4 * tl.arange(0, T)[:, None] + tl.arange(0, 4)[None, :]
    stride = 4 * (T + side)  # a visible multiple of 4: loads of four numbers are aligned
    rows_ptr += 4 * side + item * frames * stride
    rest_ptr += item * frames
    ring_ptr += 4 * side + item * (4 * side + 2 * stride)
    for edge in tl.static_range(3):
        before = ring_ptr + edge * stride - 4 * side
        tl.store(before + index, tl.full((T, 4), float("-inf"), tl.float32), mask=index < 4 * side)
    table = load_table(cost_ptr, BAND)
    score = tl.load(rows_ptr + index)
    warp = tl.arange(0, T // 32)
    tops_ptr += item * 2 * T
    ring, tops = ring_ptr, tops_ptr
    tl.store(ring + index, score)
    tl.store(tops + tl.arange(0, T), _warp_maxima(score, T))
    # Loads that do not depend on the recursion are issued two frames ahead.
    last = frames - 1
    emission = tl.load(rows_ptr + stride + index)
    emission2 = tl.load(rows_ptr + tl.minimum(2, last) * stride + index)
    if REST:
        rest, rest_emission = tl.load(rest_ptr), tl.load(rest_ptr + 1)
        rest_emission2 = tl.load(rest_ptr + tl.minimum(2, last))
    for n in range(1, frames):
        tl.debug_barrier()
        rows_ptr += stride
        emission3 = tl.load(rows_ptr + tl.minimum(2, last - n) * stride + index)
        own = split_columns(score, T)
        top = tl.max(tl.load(tops + 32 * warp))
        top = _sortable(top).to(tl.float32, bitcast=True)
        b0, b1, b2, b3 = fold_band(
            _best_near, _best_far, own, own, ring, index, table, cost_ptr, side, T, BAND
        )  # fmt: skip
        best = tl.maximum(join_columns(b0, b1, b2, b3, T), top - jump)
        if REST:
            best = tl.maximum(best, rest - switch)
            rest = tl.maximum(rest, top - switch) + rest_emission
            rest_emission, rest_emission2 = rest_emission2, tl.load(rest_ptr + tl.minimum(n + 2, last))
            tl.store(rest_ptr + n, rest)
        score = best + emission
        ring = ring_ptr + (n % 2) * stride
        tops = tops_ptr + (n % 2) * T
        tl.store(ring + index, score)
        tl.store(tops + tl.arange(0, T), _warp_maxima(score, T))
        tl.store(rows_ptr + index, score)
        emission, emission2 = emission2, emission3


def shape(states: int, band: int) -> tuple[int, int, int]:
    """Return the groups of four states in a row, those of padding between rows, the unrolled band or -1."""
    groups = max(32, triton.next_power_of_2(triton.cdiv(states, 4)))
    unrolled = band <= UNROLLED and groups <= UNROLLED_GROUPS
    return groups, triton.cdiv(band, 4), band if unrolled else -1


class Scores(NamedTuple):
    """Scores of all states in all frames, and their layout."""

    rows: Tensor  # each of T groups of four states and `side` groups of padding, which precede the first, too
    rest: Tensor  # (B * N,), of the unvoiced state; any tensor where there is none
    cost: Tensor  # of each distance
    side: int
    constants: dict  # of the kernels that read the rows


def scores(
    emission: Tensor, unvoiced: Tensor | None, band: int, slope: float, jump: float, switch: float
) -> Scores:
    """Compute scores of the best paths to all states of `(B, P, N)` emissions, neither B nor N being 0."""
    items, pitches, frames = emission.shape
    T, side, unrolled = shape(pitches + (unvoiced is not None), band)
    width = T + side
    like = {"dtype": torch.float32, "device": emission.device}
    rows, ring = (torch.empty(4 * (side + n * width), **like) for n in (items * frames, 3 * items))
    cost = torch.empty(4 * (side + 1), **like)
    tops = torch.empty(items * 2 * T, dtype=torch.int32, device=emission.device)
    rest = cost if unvoiced is None else unvoiced.to(torch.float32, copy=True).contiguous()
    constants = {"T": T, "BAND": unrolled, "REST": unvoiced is not None, "num_warps": WARPS[T]}
    grid = (items, triton.cdiv(frames, ROWS["BLOCK_N"]), triton.cdiv(4 * width, ROWS["BLOCK_S"]))
    sizes = (pitches, frames, width, side, band, slope)
    _rows[grid](emission.contiguous(), rows, cost, *sizes, **ROWS, num_warps=ROWS_WARPS)
    if frames > 1:
        _scores[(items,)](rows, rest, ring, tops, cost, frames, side, jump, switch, **constants)
    return Scores(rows, rest, cost, side, constants)


def scan_constants() -> Iterator[tuple[dict, int, bool]]:
    """List constants of all scans, their warps, and whether the defaults of the primitives use them.

    Each band up to 32 is a kernel: those of the primitives are here, and the widest. -1 is a loop. With an
    unvoiced state a kernel takes more registers, and the same of all else.
    """
    for groups, warps in WARPS.items():
        bands = ((16, False), (16, True), (UNROLLED, True)) if groups <= UNROLLED_GROUPS else ()
        for band, rest in (*bands, (-1, True)):
            yield {"T": groups, "BAND": band, "REST": rest}, warps, (groups, band, rest) == (128, 16, False)
    yield {"T": 128, "BAND": 8, "REST": False}, WARPS[128], False  # `crepe`


def configurations() -> Iterator[Configuration]:
    """List all launches; of the bands up to 32, those of `scan_constants`."""
    types = dict.fromkeys(("pitches", "frames", "width", "side", "band"), "i32")
    types |= dict.fromkeys(("slope", "jump", "switch"), "fp32") | {"tops_ptr": "*i32"}
    types |= dict.fromkeys(("rows_ptr", "rest_ptr", "ring_ptr", "cost_ptr"), "*fp32")
    for dtype in ("*fp32", "*fp16", "*bf16"):
        types |= {"emission_ptr": dtype}
        yield Configuration.of(_rows, types, ROWS, ROWS_WARPS, common=dtype == "*fp32")
    for constants, warps, common in scan_constants():
        yield Configuration.of(_scores, types, constants, warps, common=common)
