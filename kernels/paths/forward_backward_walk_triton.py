"""The serial part of forward-backward on a GPU: messages in both directions, frame by frame.

One program an item and direction. The weights are a band, one number for all jumps and one for a change of
voicing, so that a step costs 33 multiplications a state and one sum, not a matrix product.

Floor: 33 x 512 multiply-adds a step are 132 clocks of one multiprocessor, 0.07 µs at 1.8 GHz or 0.2 ms for
2584 frames; plus an exchange between the threads with one barrier, and one sum over all of them. By the stall
counts of the code for 9.0 a step takes 345 clocks in a band of 16, 425 where warps wait for one another's
loads; it was 960 with a ring in global memory, and a load of the likelihood that each step waited for. With
tangents it takes 690 (1,680). The sum over all threads, five shuffles of 30 clocks, goes on beside the
multiply-adds.
"""

from __future__ import annotations

from collections.abc import Iterator

import triton
import triton.language as tl

from torchprim.kernels.launch import Configuration
from torchprim.kernels.paths.band import band_groups, distance, fold_band, load_table
from torchprim.kernels.paths.columns import join_columns, split_columns
from torchprim.kernels.paths.ring import fetch4, open_ring, past, put, put4
from torchprim.kernels.paths.viterbi_scores_triton import scan_constants

# Sum of the messages before their frame's likelihood. The weight of two successive jumps, exp(-130) for jumps
# that cost 65, times this is no underflow in float32; gradients of 1e15 times this are no overflow.
SIZE = tl.constexpr(2.0**64)


@triton.jit
def _sum_near(sum, columns, table, x: tl.constexpr, r: tl.constexpr, BAND: tl.constexpr):
    """Add the weighted messages of the group x further to the sum of column r."""
    for q in tl.static_range(4):
        if distance(x, q, r) <= BAND:
            sum += columns[q] * table[distance(x, q, r)]
    return sum


@triton.jit
def _sum_far(sum, columns, weight_ptr, x, r: tl.constexpr):
    """Do as `_sum_near`, with the table in memory: 0 beyond the band."""
    for q in tl.static_range(4):
        sum += columns[q] * tl.load(weight_ptr + tl.abs(4 * x + q - r))
    return sum


@triton.jit
def _band(row, message, table, weight_ptr, side, T: tl.constexpr, BAND: tl.constexpr):
    """Multiply messages by the band: the weights of its steps minus that of a jump."""
    zero = tl.zeros((T,), tl.float32)
    row, start = past(row, T + 4 * side), (zero, zero, zero, zero)
    return fold_band(_sum_near, _sum_far, start, message, row, table, weight_ptr + 2, side, T, BAND)


@triton.jit
def _publish(row, message, side, T: tl.constexpr):
    """Store messages for the other threads, and before them their sums by threads; a barrier must follow."""
    thread = tl.arange(0, T)
    m0, m1, m2, m3 = message
    put4(row, T + 4 * (side + thread), m0, m1, m2, m3)
    put(row, thread, (m0 + m1) + (m2 + m3))


@triton.jit
def _sums(row, T: tl.constexpr):
    """Load the sums of all threads, in each of the warps; `tl.sum` of them needs no other warp."""
    LANES: tl.constexpr = min(T // 4, 32)
    sums = tl.zeros((LANES,), tl.float32)
    for first in tl.static_range(0, T, 4 * LANES):
        m0, m1, m2, m3 = fetch4(row, first + 4 * tl.arange(0, LANES))
        sums += (m0 + m1) + (m2 + m3)
    return sums


@triton.jit
def _voiced(columns, pitches, T: tl.constexpr, REST: tl.constexpr):
    """Set the unvoiced state and what follows it to 0; without such a state they are 0."""
    if not REST:
        return columns
    else:
        voiced = ()
        for r in tl.static_range(4):
            voiced += (tl.where(4 * tl.arange(0, T) + r < pitches, columns[r], 0.0),)
        return voiced


@triton.jit
def _with_rest(columns, rest, pitches, T: tl.constexpr):
    """Put the unvoiced state behind the pitches."""
    with_rest = ()
    for r in tl.static_range(4):
        with_rest += (tl.where(4 * tl.arange(0, T) + r == pitches, rest, columns[r]),)
    return with_rest


@triton.jit
def _scaled(columns, others, scale):
    """Add what comes from all states alike, and scale."""
    scaled = ()
    for r in tl.static_range(4):
        scaled += ((columns[r] + others) * scale,)
    return scaled


@triton.jit
def _ahead(pointer, first, last, stride, AHEAD: tl.constexpr):
    """Load AHEAD frames, the last one for those after it."""
    frames = ()
    for k in tl.static_range(AHEAD):
        frames += (tl.load(pointer + tl.minimum(first + k, last) * stride),)
    return frames


@triton.jit
def _store(pointer, before, after, backward, inside, T: tl.constexpr):
    """Store messages before the likelihood or after it."""
    before = join_columns(before[0], before[1], before[2], before[3], T)
    after = join_columns(after[0], after[1], after[2], after[3], T)
    tl.store(pointer, tl.where(backward, before, after), mask=inside)


@triton.jit
def walk(
    likelihood_ptr, gradient_ptr, weight_ptr, ring_ptr, messages_ptr, tangents_ptr,
    pitches, frames, side,
    T: tl.constexpr, BAND: tl.constexpr, REST: tl.constexpr, TANGENT: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    """Compute forward messages (direction 0), with their frame's likelihood, and backward ones without it.

    Both are u(n) = l(n) · W u(n - 1) · SIZE / sum of u(n - 1), over frames in either order, as W is
    symmetric; backward messages are stored before the likelihood. Tangents along the gradient g are
    u' = l · W u' · SIZE / sum + u · (g - c). Any number c gives the same marginals: the ratio of the sums of
    u' and u, one frame before, keeps tangents small.

    Neighbours exchange messages through a ring of two rows, and likelihoods are loaded some frames ahead, as
    in `viterbi_scores_triton`. Frames after the last are computed and not stored.
    """
    item = tl.program_id(0).to(tl.int64)
    direction = tl.program_id(1)
    backward = direction == 1
    index = 4 * tl.arange(0, T)[:, None] + tl.arange(0, 4)[None, :]
    stride = (1 - 2 * direction).to(tl.int64) * (4 * T)  # to the next frame in this direction
    start = (item * frames + direction * (frames - 1)) * (4 * T)
    out = (direction * tl.num_programs(0).to(tl.int64)) * frames * (4 * T) + start
    likelihood_ptr += start
    gradient_ptr += start
    messages_ptr += out
    tangents_ptr += out
    if BAND >= 0:
        side = band_groups(BAND)
    # A row of the ring: sums of the threads; `side` groups of zeros, the messages, and zeros again.
    size = 5 * T + 8 * side
    NUMBERS: tl.constexpr = (2 + 2 * TANGENT) * (5 * T + 8 * band_groups(BAND))
    ring_ptr += (item * 2 + direction) * (2 + 2 * TANGENT) * size
    ring = open_ring(ring_ptr, BAND, NUMBERS)
    for first in range(0, (2 + 2 * TANGENT) * size, T):
        place = tl.minimum(first + tl.arange(0, T), (2 + 2 * TANGENT) * size - 1)
        put(ring, place, tl.zeros((T,), tl.float32))
    tl.debug_barrier()
    table = load_table(weight_ptr + 2, BAND)
    jumping, switching = tl.load(weight_ptr), tl.load(weight_ptr + 1)
    tile = tl.load(likelihood_ptr + index)
    tl.store(messages_ptr + index, tl.where(backward, 1.0, tile))
    message = _voiced(split_columns(tile, T), pitches, T, REST)
    _publish(ring, message, side, T)
    d_message, rest, d_rest = message, 0.0, 0.0
    if REST:
        rest = tl.load(likelihood_ptr + pitches)
    if TANGENT:
        tile *= tl.load(gradient_ptr + index)
        tl.store(tangents_ptr + index, tl.where(backward, 0.0, tile))
        d_message = _voiced(split_columns(tile, T), pitches, T, REST)
        _publish(past(ring, 2 * size), d_message, side, T)
        if REST:
            d_rest = rest * tl.load(gradient_ptr + pitches)
    # Loads that do not depend on the recursion are issued a pass of the loop ahead.
    last, none = frames - 1, ()
    likelihoods = _ahead(likelihood_ptr + index, 1, last, stride, AHEAD)
    slopes, rest_likelihoods, rest_slopes = none, none, none
    if TANGENT:
        slopes = _ahead(gradient_ptr + index, 1, last, stride, AHEAD)
    if REST:
        rest_likelihoods = _ahead(likelihood_ptr + pitches, 1, last, stride, AHEAD)
        if TANGENT:
            rest_slopes = _ahead(gradient_ptr + pitches, 1, last, stride, AHEAD)
    for first in range(1, frames, AHEAD):
        now, slopes_now, rest_now, rest_slopes_now = likelihoods, slopes, rest_likelihoods, rest_slopes
        likelihoods = _ahead(likelihood_ptr + index, first + AHEAD, last, stride, AHEAD)
        if TANGENT:
            slopes = _ahead(gradient_ptr + index, first + AHEAD, last, stride, AHEAD)
        if REST:
            rest_likelihoods = _ahead(likelihood_ptr + pitches, first + AHEAD, last, stride, AHEAD)
            if TANGENT:
                rest_slopes = _ahead(gradient_ptr + pitches, first + AHEAD, last, stride, AHEAD)
        for k in tl.static_range(AHEAD):
            tl.debug_barrier()
            row, other = past(ring, (k % 2) * size), past(ring, (1 - k % 2) * size)
            sums = _sums(row, T)
            before = _band(row, message, table, weight_ptr, side, T, BAND)
            total = tl.sum(sums)
            inverse = 1.0 / (total + rest)
            before = _scaled(before, jumping * total + switching * rest, inverse * SIZE)
            if TANGENT:
                sums = _sums(past(row, 2 * size), T)
                d_before = _band(past(row, 2 * size), d_message, table, weight_ptr, side, T, BAND)
                d_total = tl.sum(sums)
                centre = (d_total + d_rest) * inverse
                d_before = _scaled(d_before, jumping * d_total + switching * d_rest, inverse * SIZE)
            if REST:
                if TANGENT:
                    d_rest = (switching * d_total + d_rest) * (inverse * SIZE)
                    d_before = _with_rest(d_before, d_rest, pitches, T)
                rest = (switching * total + rest) * (inverse * SIZE)
                before = _with_rest(before, rest, pitches, T)
            likelihood, after, d_after = split_columns(now[k], T), (), ()
            for r in tl.static_range(4):
                after += (before[r] * likelihood[r],)
            message = _voiced(after, pitches, T, REST)
            _publish(other, message, side, T)
            if TANGENT:
                slope = split_columns(slopes_now[k], T)
                for r in tl.static_range(4):
                    d_after += (d_before[r] * likelihood[r] + after[r] * (slope[r] - centre),)
                d_message = _voiced(d_after, pitches, T, REST)
                _publish(past(other, 2 * size), d_message, side, T)
            if REST:
                rest *= rest_now[k]
                if TANGENT:
                    d_rest = d_rest * rest_now[k] + rest * (rest_slopes_now[k] - centre)
            place = (first + k) * stride + index
            _store(messages_ptr + place, before, after, backward, first + k < frames, T)
            if TANGENT:
                _store(tangents_ptr + place, d_before, d_after, backward, first + k < frames, T)


def ahead(tangent: bool) -> int:
    """Return how many frames a pass of the loop computes, an even number."""
    return 2 if tangent else 4


def configurations() -> Iterator[Configuration]:
    """List all launches; of the bands up to 32, those of `scan_constants`."""
    names = ("likelihood_ptr", "gradient_ptr", "weight_ptr", "ring_ptr", "messages_ptr", "tangents_ptr")
    signature = dict.fromkeys(names, "*fp32") | dict.fromkeys(("pitches", "frames", "side"), "i32")
    for tangent in (False, True):
        for constants, warps, common in scan_constants():
            constants = constants | {"TANGENT": tangent, "AHEAD": ahead(tangent)}
            yield Configuration(walk, signature, constants, warps, common=common)
