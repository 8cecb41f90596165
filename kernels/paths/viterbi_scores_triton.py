"""Banded Viterbi on a GPU, the serial part: scores of the best paths to all states, frame by frame.

`_rows` transposes the emissions, so that a frame is one row, and pads it with -inf: no later load needs a
mask. `_scores` walks over the frames, one program an item. It stores no indices: a maximum costs an
addition and a comparison a candidate, its index two instructions more, and `viterbi_triton` finds them from
the scores for all frames at once.

Floor of the whole operator: emissions read once, written and read once in rows, scores written over them
and read once, 16-bit pointers written and read: 24 bytes a pitch and frame, 0.45 GB or 0.10 ms for
16 x 454 x 2584. The serial part takes longer. The cost of a step is linear in its distance, so that a frame
costs a warp some 130 instructions in a band of 16, not two for each of 33 x 4 candidates. By the stall counts
of the compiled code that is 0.15 µs, 0.4 ms for 2584 frames; an H200 took 1.0 ms (1.1 before), as if each
exchange through the ring waited for the second-level cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration
from torchprim.kernels.paths.band import band_groups
from torchprim.kernels.paths.columns import join_columns, split_columns
from torchprim.kernels.paths.ring import fetch, fetch4, open_ring, past, put, put4, ring_memory

ROWS = {"BLOCK_S": 32, "BLOCK_N": 64}
ROWS_WARPS = 4
# Frames computed in one pass of the loop, an even number; a wide band, whose groups are a loop, takes fewer.
AHEAD, AHEAD_WIDE = 6, 2
# A thread holds a group of four neighbouring states, loaded as 16 bytes. Groups T -> warps:
WARPS = {32: 1, 64: 2, 128: 4, 256: 8, 512: 16}
# Up to here the band is unrolled and its costs stay in registers; a wider one is a loop.
UNROLLED = 32
MAXIMA = tl.constexpr(16)  # places for those of the warps, at the start of a row of the ring



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
def _sortable(bits):
    """Map bits of floats to integers of the same order, and back: a warp has a maximum of integers."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _warp_maxima(largest, T: tl.constexpr):
    """Compute for each thread the largest number of its warp, as `_sortable` integers."""
    largest = _sortable(largest.to(tl.int32, bitcast=True))
    largest = tl.max(tl.reshape(largest, (T // 32, 32)), 1).to(tl.float32, bitcast=True)
    return tl.reshape(tl.broadcast_to(largest[:, None], (T // 32, 32)), (T,))


@triton.jit
def _largest(row, T: tl.constexpr):
    """Compute the largest of all scores from `_warp_maxima`, in each of T threads anew."""
    largest = tl.full((T,), -(2**31), tl.int32)
    for first in tl.static_range(0, T // 32, 4):
        maxima = fetch4(row, first + 0 * tl.arange(0, T))
        for k in tl.static_range(min(T // 32, 4)):
            largest = tl.maximum(largest, maxima[k].to(tl.int32, bitcast=True))
    return _sortable(largest).to(tl.float32, bitcast=True)


@triton.jit
def _running(x0, x1, x2, x3, step):
    """Compute running maxima of four columns; an earlier one changes by `step` for each column passed."""
    y1 = tl.maximum(x1, x0 + step)
    y3 = tl.maximum(tl.maximum(x3, x2 + step), y1 + 2 * step)
    return x0, y1, tl.maximum(x2, y1 + step), y3


@triton.jit
def _publish(row, x, side, slope, T: tl.constexpr, BAND: tl.constexpr):
    """Store for the other threads: running maxima of each group, in both directions, and their last.

    A row: the warps' largest scores; then, with padding between them, maxima from each state to the end of its
    group, as seen from that state; from the group's start to each state; those of whole groups, seen from
    their start and from their end.
    """
    group, width = tl.arange(0, T), T + side
    row = past(row, MAXIMA)
    x0, x1, x2, x3 = x
    largest = tl.maximum(tl.maximum(x0, x1), tl.maximum(x2, x3))
    maxima = _warp_maxima(largest, T)
    if BAND < 0 or BAND > 2:
        d3, d2, d1, d0 = _running(x3, x2, x1, x0, slope)
        u0, u1, u2, u3 = _running(x0, x1, x2, x3, slope)
        put4(row, 4 * (side + group), d0, d1, d2, d3)
        put4(row, 4 * (width + group), u0, u1, u2, u3)
        put(row, 8 * width + side + group, d0)
        put(row, 9 * width + group, u3)
    else:
        put4(row, 4 * (side + group), x0, x1, x2, x3)
    put(row, group // 32 - MAXIMA, maxima)


@triton.jit
def _shifted(row, states: tl.constexpr, T: tl.constexpr):
    """Load for each state the number of that some states further, as four columns."""
    groups: tl.constexpr = states // 4
    first: tl.constexpr = states % 4
    place = 4 * (groups + tl.arange(0, T))
    near = fetch4(row, place)
    if first == 0:
        return near
    else:
        far, columns = fetch4(row, place + 4), ()
        for r in tl.static_range(4):
            if first + r < 4:
                columns += (near[first + r],)
            else:
                columns += (far[first + r - 4],)
        return columns


@triton.jit
def _shifted_far(row, states, T: tl.constexpr):
    """Do as `_shifted`, by any number of states."""
    columns = ()
    for r in tl.static_range(4):
        columns += (fetch(row, 4 * tl.arange(0, T) + r + states),)
    return columns


@triton.jit
def _whole_groups(before, after, full, slope, T: tl.constexpr):
    """Compute the largest of the groups 1 to `full - 1` further in both directions, as seen from the own one."""
    group = tl.arange(0, T)
    left, right = fetch(before, group - 1) - slope * 4, fetch(after, group + 1) - slope * 4
    for x in range(2, full):
        left = tl.maximum(left, fetch(before, group - x) - slope * (4 * x))
        right = tl.maximum(right, fetch(after, group + x) - slope * (4 * x))
    return left, right


@triton.jit
def _less(score, slope, states: tl.constexpr):
    """Subtract the cost of a step."""
    if states == 0:
        return score
    else:
        return score - slope * states


@triton.jit
def _best_in_band(row, x, side, band, slope, T: tl.constexpr, BAND: tl.constexpr):
    """Compute the best score of the states within the band of each, minus the cost of the step.

    The cost is linear, so that windows are maxima of running maxima (van Herk 1992, Gil and Werman 1993):
    the window of a state ends inside a group on either side, and whole groups lie between that and its own.
    """
    row, width, group, best = past(row, MAXIMA), T + side, tl.arange(0, T), ()
    below, above = past(row, 4 * side), past(row, 4 * width)
    if BAND >= 0 and BAND <= 2:  # ends inside the own group
        best = x
        for d in tl.static_range(1, BAND + 1):
            left, right = _shifted(below, -d, T), _shifted(below, d, T)
            nearer, best = best, ()
            for r in tl.static_range(4):
                best += (tl.maximum(nearer[r], tl.maximum(left[r], right[r]) - slope * d),)
    else:
        if BAND < 0:
            left, right = _shifted_far(below, -band, T), _shifted_far(above, band, T)
        else:
            left, right = _shifted(below, -BAND, T), _shifted(above, BAND, T)
        x0, x1, x2, x3 = x
        up = _running(x0, x1, x2, x3, -slope)
        d3, d2, d1, d0 = _running(x3, x2, x1, x0, -slope)
        down = (d0, d1, d2, d3)
        before, after = past(row, 8 * width + side), past(row, 9 * width)
        full, over = band // 4, band % 4  # of a band that is no multiple of 4, one group is in some windows
        if BAND < 0 or BAND >= 8:
            whole_left, whole_right = _whole_groups(before, after, full, slope, T)
        if BAND < 0 or (BAND % 4 > 0 and BAND > 4):
            last_left = fetch(before, group - full) - slope * (4 * full)
            last_right = fetch(after, group + full) - slope * (4 * full)
        for r in tl.static_range(4):
            column = tl.maximum(tl.maximum(up[r], down[r]), tl.maximum(left[r], right[r]) - slope * band)
            if BAND < 0 or BAND >= 8:
                whole = tl.maximum(_less(whole_left, slope, r), _less(whole_right, slope, 3 - r))
                column = tl.where(full > 1, tl.maximum(column, whole), column)
            if BAND < 0 or (BAND % 4 > 0 and BAND > 4):
                column = tl.where(r < over, tl.maximum(column, _less(last_left, slope, r)), column)
                column = tl.where(r > 3 - over, tl.maximum(column, _less(last_right, slope, 3 - r)), column)
            best += (column,)
    return best


@triton.jit
def _scores(
    rows_ptr, rest_ptr, ring_ptr,
    frames, side, band, slope, jump, switch,
    T: tl.constexpr, BAND: tl.constexpr, REST: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    """Compute scores of the best paths to each state, in place of the emissions.

    Every few frames the largest is subtracted: they stay small, and exact. Frames after the last are computed
    and not stored, so that none needs a branch.

    Neighbours exchange scores through a ring of two rows. One barrier a frame suffices: all threads of a
    block see after it what any of them stored before. A row of the ring is overwritten two frames later,
    after the barrier of the next frame, which a thread reaches only when it has loaded the row.
    """
    item = tl.program_id(0).to(tl.int64)
    thread = tl.arange(0, T)
    index = 4 * thread[:, None] + tl.arange(0, 4)[None, :]
    if BAND >= 0:  # constants fold into addresses
        side, band = band_groups(BAND), BAND
    stride = 4 * (T + side)  # a visible multiple of 4: loads of four numbers are aligned
    rows_ptr += 4 * side + item * frames * stride
    rest_ptr += item * frames
    size = MAXIMA + 10 * T + 12 * side
    NUMBERS: tl.constexpr = 2 * (MAXIMA + 10 * T + 12 * band_groups(BAND))
    ring = open_ring(ring_ptr + item * (2 * size), BAND, NUMBERS)
    for first in range(0, 2 * size, T):
        put(ring, tl.minimum(first + thread, 2 * size - 1), tl.full((T,), float("-inf"), tl.float32))
    tl.debug_barrier()
    score = split_columns(tl.load(rows_ptr + index), T)
    _publish(ring, score, side, slope, T, BAND)
    # Emissions are loaded for some frames at once, in the first of as many frames before: the hardware waits
    # for all loads of a kind, so that one load in each frame would make each wait for the latest.
    ahead, rest_ahead = (), ()
    for k in tl.static_range(1, AHEAD + 1):
        ahead += (tl.load(rows_ptr + k * stride + index),)
    if REST:
        rest_ptr += tl.zeros((T,), tl.int32)
        rest = tl.load(rest_ptr)
        for k in tl.static_range(1, AHEAD + 1):
            rest_ahead += (tl.load(rest_ptr + k),)
    for first in range(1, frames, AHEAD):
        emissions, rest_emissions, ahead, rest_ahead = ahead, rest_ahead, (), ()
        for k in tl.static_range(AHEAD):
            tl.debug_barrier()
            row, other = past(ring, (k % 2) * size), past(ring, (1 - k % 2) * size)
            top = _largest(row, T)
            best = _best_in_band(row, score, side, band, slope, T, BAND)
            # Of the frame before: stores wait, and no thread waits for them, while the ring is loaded.
            joined = join_columns(score[0], score[1], score[2], score[3], T)
            tl.store(rows_ptr + index, joined, mask=first + k <= frames)
            rows_ptr += stride
            if k == 0:
                for j in tl.static_range(AHEAD):
                    ahead += (tl.load(rows_ptr + (AHEAD + j) * stride + index),)
                    if REST:
                        rest_ahead += (tl.load(rest_ptr + first + AHEAD + j),)
            entry = top - jump
            emission = split_columns(emissions[k], T)
            if k == 0:
                base = tl.where(top > float("-inf"), top, 0.0)
            if REST:
                entry = tl.maximum(entry, rest - switch)
                rest = tl.maximum(rest, top - switch) + rest_emissions[k]
                if k == 0:
                    rest -= base
                tl.store(rest_ptr + first + k, rest, mask=(thread == 0) & (first + k < frames))
            score = ()
            for r in tl.static_range(4):
                if k == 0:
                    score += (tl.maximum(best[r], entry) + (emission[r] - base),)
                else:
                    score += (tl.maximum(best[r], entry) + emission[r],)
            _publish(other, score, side, slope, T, BAND)
    joined = join_columns(score[0], score[1], score[2], score[3], T)
    tl.store(rows_ptr + index, joined, mask=(frames - 1) % AHEAD == 0)


def ahead(unrolled: int) -> int:
    """Return how many frames a pass of the loop computes, by the unrolled band or -1."""
    return AHEAD_WIDE if unrolled < 0 else AHEAD


def shape(states: int, band: int) -> tuple[int, int, int]:
    """Return the groups of four states in a row, those of padding between rows, the unrolled band or -1."""
    groups = max(32, triton.next_power_of_2(triton.cdiv(states, 4)))
    return groups, triton.cdiv(band, 4), band if band <= UNROLLED else -1


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
    after = 2 * ahead(unrolled)  # frames that are loaded after the last, and not used
    rows = torch.empty(4 * (side + (items * frames + after) * width), **like)
    cost = torch.empty(4 * (side + 1), **like)
    ring = ring_memory(items, 2 * (MAXIMA.value + 10 * T + 12 * side), unrolled, rows)
    rest = cost
    if unvoiced is not None:
        rest = torch.empty(items * frames + after, **like)
        rest[:-after] = unvoiced.flatten()
    constants = {"T": T, "BAND": unrolled, "REST": unvoiced is not None, "num_warps": WARPS[T]}
    grid = (items, triton.cdiv(frames, ROWS["BLOCK_N"]), triton.cdiv(4 * width, ROWS["BLOCK_S"]))
    sizes = (pitches, frames, width, side, band, slope)
    _rows[grid](emission.contiguous(), rows, cost, *sizes, **ROWS, num_warps=ROWS_WARPS)
    if frames > 1:
        sizes = (frames, side, band, slope, jump, switch)
        _scores[(items,)](rows, rest, ring, *sizes, **constants, AHEAD=ahead(unrolled))
    return Scores(rows, rest, cost, side, constants)


def scan_constants() -> Iterator[tuple[dict, int, bool]]:
    """List constants of all scans, their warps, and whether the defaults of the primitives use them.

    Each band up to 32 is a kernel: those of the primitives are here, and the widest. -1 is a loop. With an
    unvoiced state a kernel takes more registers, and the same of all else.
    """
    for groups, warps in WARPS.items():
        for band, rest in ((16, False), (16, True), (UNROLLED, True), (-1, True)):
            yield {"T": groups, "BAND": band, "REST": rest}, warps, (groups, band, rest) == (128, 16, False)
    yield {"T": 128, "BAND": 8, "REST": False}, WARPS[128], False  # `crepe`


def configurations() -> Iterator[Configuration]:
    """List all launches; of the bands up to 32, those of `scan_constants`."""
    types = dict.fromkeys(("pitches", "frames", "width", "side", "band"), "i32")
    types |= dict.fromkeys(("slope", "jump", "switch"), "fp32")
    types |= dict.fromkeys(("rows_ptr", "rest_ptr", "ring_ptr", "cost_ptr"), "*fp32")
    for dtype in ("*fp32", "*fp16", "*bf16"):
        types |= {"emission_ptr": dtype}
        yield Configuration.of(_rows, types, ROWS, ROWS_WARPS, common=dtype == "*fp32")
    for constants, warps, common in scan_constants():
        yield Configuration.of(
            _scores,
            types,
            constants | {"AHEAD": ahead(constants["BAND"])},
            warps,
            common=common,
        )
