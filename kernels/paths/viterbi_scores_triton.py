"""Banded Viterbi on a GPU, the serial part: scores of the best paths to every state, frame after frame.

`_rows` turns the emissions, so that a frame is one row, and puts scores of -inf around it: no later read
needs a mask. `_scores` walks over the frames, one program an item. It keeps no indices: a largest value
costs an addition and a maximum a candidate, its index two instructions more, and `viterbi_triton` finds
them from the scores for all frames at once.

Floor of the whole operator: emissions read once, written and read once in rows, scores written over them
and read once, 16-bit pointers written and read: 24 bytes a pitch and frame, 0.45 GB or 0.10 ms for
16 x 454 x 2584. What takes longer is the serial part. A frame costs the 33 x 512 maxima of the band, of
which a multiprocessor makes 64 a clock: 264 clocks or 0.15 µs at 1.8 GHz, 0.4 ms for 2584 frames; an
exchange between the threads with one barrier and one maximum over all of them come to that.
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
STATES = 4096  # what `_scores` was compiled for; more take the reference
# A thread holds four neighbouring states, so that it reads its neighbours' as 16 bytes.
WARPS = {32: 1, 64: 2, 128: 4, 256: 8, 512: 16, 1024: 16}  # threads' places -> warps
# Up to here the band is unrolled and its costs stay in registers; a wider one is a loop, and so is any
# band of a thousand places, of which a thread has two.
UNROLLED, UNROLLED_PLACES = 32, 512


@triton.constexpr_function
def away(x, q, r):
    """Distance in states from state r of a group of four to state q of the group x places further."""
    return 4 * x + q - r


@triton.constexpr_function
def gap(x, q, r):
    """As `away`, without its sign."""
    return abs(4 * x + q - r)


@triton.constexpr_function
def reach(band):
    """Groups of four on either side that a band touches."""
    return (band + 3) // 4


@triton.jit
def apart(x, T: tl.constexpr):
    """`(T, 4)` as four columns: a thread's own registers under four names."""
    even, odd = tl.split(tl.reshape(x, (T, 2, 2)))
    x0, x2 = tl.split(even)
    x1, x3 = tl.split(odd)
    return x0, x1, x2, x3


@triton.jit
def together(x0, x1, x2, x3, T: tl.constexpr):
    """Four columns as `(T, 4)`."""
    return tl.reshape(tl.join(tl.join(x0, x2), tl.join(x1, x3)), (T, 4))


@triton.jit
def _rows(
    emission_ptr, rows_ptr, cost_ptr,
    pitches, frames, width, side, band, slope,
    BLOCK_S: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Emissions `(P, N)` to rows of frames, -inf beyond the pitches; and the cost of every distance."""
    item = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    s = tl.program_id(2) * BLOCK_S + tl.arange(0, BLOCK_S)
    inside = (s < pitches)[:, None] & (n < frames)[None, :]
    place = (item * pitches + s)[:, None] * frames + n[None, :]
    tile = tl.load(emission_ptr + place, mask=inside, other=float("-inf")).to(tl.float32)
    row = 4 * (side + (item * frames + n)[:, None] * width) + s[None, :]
    tl.store(rows_ptr + row, tl.trans(tile), mask=(n < frames)[:, None] & (s < 4 * width)[None, :])
    # Once: what lies before the first row, and the table, as long as any read needs it.
    once = (item == 0) & (tl.program_id(1) == 0)
    tl.store(rows_ptr + s, tl.full((BLOCK_S,), float("-inf"), tl.float32), mask=once & (s < 4 * side))
    cost = tl.where(s <= band, slope * s.to(tl.float32), float("inf"))
    tl.store(cost_ptr + s, cost, mask=once & (s < 4 * side + 4))


@triton.jit
def costs(cost_ptr, BAND: tl.constexpr):
    """The table as numbers in registers."""
    table = ()
    for k in tl.static_range(BAND + 1):
        table += (tl.load(cost_ptr + k),)
    return table


@triton.jit
def _best_of(best, v, table, x: tl.constexpr, r: tl.constexpr, BAND: tl.constexpr):
    """The best score of state r after the four states x groups further."""
    for q in tl.static_range(4):
        if gap(x, q, r) <= BAND:
            best = tl.maximum(best, v[q] - table[gap(x, q, r)])
    return best


@triton.jit
def _best_of_far(best, v, cost_ptr, x, r: tl.constexpr):
    """As `_best_of`, with the table in memory: infinite beyond the band."""
    for q in tl.static_range(4):
        best = tl.maximum(best, v[q] - tl.load(cost_ptr + tl.abs(4 * x + q - r)))
    return best


@triton.jit
def in_order(bits):
    """Bits of numbers as integers of the same order, and back: a warp finds those' largest at once."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _tops(own, T: tl.constexpr):
    """For each thread the largest of its warp's 128 scores, in the form of `in_order`."""
    largest = in_order(tl.max(own, 1).to(tl.int32, bitcast=True))
    largest = tl.max(tl.reshape(largest, (T // 32, 32)), 1)
    return tl.reshape(tl.broadcast_to(largest[:, None], (T // 32, 32)), (T,))


@triton.jit
def _scores(
    rows_ptr, rest_ptr, ring_ptr, tops_ptr, cost_ptr,
    frames, side, jump, switch,
    T: tl.constexpr, BAND: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    """Scores of the best paths to each state, written over the emissions that they were made from.

    Neighbours read each other's scores from a ring of two rows in global memory, small enough for the L1
    cache. One barrier a frame orders all: what the threads of a block wrote before it, all of them see
    after it. A row of the ring is written again two frames later; between lies the barrier of the next
    frame, which a thread reaches only after it has used what it read of this one.
    """
    item = tl.program_id(0).to(tl.int64)
    place = 4 * tl.arange(0, T)[:, None] + tl.arange(0, 4)[None, :]
    stride = 4 * (T + side)  # said like this, so that reads of four numbers are known to be aligned
    rows_ptr += 4 * side + item * frames * stride
    rest_ptr += item * frames
    ring_ptr += 4 * side + item * (4 * side + 2 * stride)
    for edge in tl.static_range(3):
        before = ring_ptr + edge * stride - 4 * side
        tl.store(before + place, tl.full((T, 4), float("-inf"), tl.float32), mask=place < 4 * side)
    table = costs(cost_ptr, BAND)
    own = tl.load(rows_ptr + place)
    part = tl.arange(0, T // 32)
    tops_ptr += item * 2 * T
    ring, tops = ring_ptr, tops_ptr
    tl.store(ring + place, own)
    tl.store(tops + tl.arange(0, T), _tops(own, T))
    # What does not depend on the recursion is asked for two frames before it is needed.
    last = frames - 1
    emission = tl.load(rows_ptr + stride + place)
    emission2 = tl.load(rows_ptr + tl.minimum(2, last) * stride + place)
    if REST:
        rest, rest_emission = tl.load(rest_ptr), tl.load(rest_ptr + 1)
        rest_emission2 = tl.load(rest_ptr + tl.minimum(2, last))
    for n in range(1, frames):
        tl.debug_barrier()
        rows_ptr += stride
        emission3 = tl.load(rows_ptr + tl.minimum(2, last - n) * stride + place)
        mine = apart(own, T)
        b0, b1, b2, b3 = mine
        top = tl.max(tl.load(tops + 32 * part))
        top = in_order(top).to(tl.float32, bitcast=True)
        if BAND >= 0:
            for x in tl.static_range(-reach(BAND), reach(BAND) + 1):
                v = mine
                if x != 0:
                    v = apart(tl.load(ring + 4 * x + place), T)
                b0 = _best_of(b0, v, table, x, 0, BAND)
                b1 = _best_of(b1, v, table, x, 1, BAND)
                b2 = _best_of(b2, v, table, x, 2, BAND)
                b3 = _best_of(b3, v, table, x, 3, BAND)
        else:
            for x in range(-side, side + 1):
                v = apart(tl.load(ring + 4 * x + place), T)
                b0 = _best_of_far(b0, v, cost_ptr, x, 0)
                b1 = _best_of_far(b1, v, cost_ptr, x, 1)
                b2 = _best_of_far(b2, v, cost_ptr, x, 2)
                b3 = _best_of_far(b3, v, cost_ptr, x, 3)
        best = tl.maximum(together(b0, b1, b2, b3, T), top - jump)
        if REST:
            best = tl.maximum(best, rest - switch)
            rest = tl.maximum(rest, top - switch) + rest_emission
            rest_emission, rest_emission2 = rest_emission2, tl.load(rest_ptr + tl.minimum(n + 2, last))
            tl.store(rest_ptr + n, rest)
        own = best + emission
        ring = ring_ptr + (n % 2) * stride
        tops = tops_ptr + (n % 2) * T
        tl.store(ring + place, own)
        tl.store(tops + tl.arange(0, T), _tops(own, T))
        tl.store(rows_ptr + place, own)
        emission, emission2 = emission2, emission3


def shape(states: int, band: int) -> tuple[int, int, int]:
    """Groups of four states in a row, free groups between two rows, and the unrolled band or -1."""
    places = max(32, triton.next_power_of_2(triton.cdiv(states, 4)))
    unrolled = band <= UNROLLED and places <= UNROLLED_PLACES
    return places, triton.cdiv(band, 4), band if unrolled else -1


class Scores(NamedTuple):
    """Scores of all states in all frames, and how they lie in memory."""

    rows: Tensor  # each of T groups of four states and `side` free groups, which lie before the first, too
    rest: Tensor  # (B * N,), of the unvoiced state; anything where there is none
    cost: Tensor  # of each distance
    side: int
    constants: dict  # of the kernels that read the rows


def scores(
    emission: Tensor, unvoiced: Tensor | None, band: int, slope: float, jump: float, switch: float
) -> Scores:
    """Scores of the best paths to all states of `(B, P, N)` emissions, neither B nor N being 0."""
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
    _rows[grid](
        emission.contiguous(),
        rows,
        cost,
        pitches,
        frames,
        width,
        side,
        band,
        slope,
        **ROWS,
        num_warps=ROWS_WARPS,
    )
    if frames > 1:
        _scores[(items,)](rows, rest, ring, tops, cost, frames, side, jump, switch, **constants)
    return Scores(rows, rest, cost, side, constants)


def scan_constants() -> Iterator[tuple[dict, int, bool]]:
    """Constants of all scans, their warps, and whether the defaults of the primitives use them.

    Bands up to 32 are kernels of their own: those of the primitives are here, and the widest. -1 is a loop.
    With an unvoiced state a kernel takes more registers than without, and the same of all else.
    """
    for places, warps in WARPS.items():
        bands = ((16, False), (16, True), (UNROLLED, True)) if places <= UNROLLED_PLACES else ()
        for band, rest in (*bands, (-1, True)):
            yield {"T": places, "BAND": band, "REST": rest}, warps, (places, band, rest) == (128, 16, False)
    yield {"T": 128, "BAND": 8, "REST": False}, WARPS[128], False  # `crepe`


def configurations() -> Iterator[Configuration]:
    """List all that can be launched; of the bands up to 32, those of `scan_constants`."""
    sizes = dict.fromkeys(("pitches", "frames", "width", "side", "band"), "i32") | {"slope": "fp32"}
    for kind in ("*fp32", "*fp16", "*bf16"):
        tensors = {"emission_ptr": kind, "rows_ptr": "*fp32", "cost_ptr": "*fp32"}
        yield Configuration(_rows, tensors | sizes, ROWS, ROWS_WARPS, common=kind == "*fp32")
    tensors = dict.fromkeys(("rows_ptr", "rest_ptr", "ring_ptr", "cost_ptr"), "*fp32") | {"tops_ptr": "*i32"}
    scalars = dict.fromkeys(("frames", "side"), "i32")
    scalars |= dict.fromkeys(("jump", "switch"), "fp32")
    for each, warps, common in scan_constants():
        yield Configuration(_scores, tensors | scalars, each, warps, common=common)
