"""Banded Viterbi on a GPU, the serial part: scores of the best paths to all states, frame by frame.

`_rows` transposes the emissions, so that a frame is one row, and pads it with -inf: no later load needs a
mask. `_scores` walks over the frames, one program an item. It stores no indices: a maximum costs an
addition and a comparison a candidate, its index two instructions more, and `viterbi_triton` finds them from
the scores for all frames at once.

Floor of the whole operator: emissions read once, written and read once in rows, scores written over them
and read once, 16-bit pointers written and read: 24 bytes a pitch and frame, 0.45 GB or 0.10 ms for
16 x 454 x 2584. The serial part takes longer. The cost of a step is linear in its distance, so that a frame
costs a warp some 120 instructions in a band of 16, not two for each of 33 x 4 candidates. What is serial in
a frame, in clocks: the barrier 24, loads of shared memory 30, maxima and sums 60, the maximum over a warp 24,
stores 20; and as each of four warps has a scheduler to itself, most instructions count. By the stall counts
of the code for 9.0 a frame takes 250 clocks, 305 where warps wait for one another's loads: 0.44 ms for 2584.
Through a ring in global memory it was 280, and 430 more for trips to the second-level cache: an H200 took
1.18 ms.
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
from torchprim.kernels.paths.ring import open_ring, past, put, ring_memory
from torchprim.kernels.paths.window_maxima import MAXIMA, best_in_band, largest_of_all, publish

ROWS = {"BLOCK_S": 32, "BLOCK_N": 64}
ROWS_WARPS = 4
# Frames computed in one pass of the loop, an even number; a wide band, whose groups are a loop, takes fewer.
AHEAD, AHEAD_WIDE = 6, 2
# A thread holds a group of four neighbouring states, loaded as 16 bytes. Groups T -> warps:
WARPS = {32: 1, 64: 2, 128: 4, 256: 8, 512: 16}
# Up to here the band is unrolled and its costs stay in registers; a wider one is a loop.
UNROLLED = 32


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
    publish(ring, score, side, slope, T, BAND)
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
            top = largest_of_all(row, T)
            best = best_in_band(row, score, side, band, slope, T, BAND)
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
            publish(other, score, side, slope, T, BAND)
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
