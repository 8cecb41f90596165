"""The serial part of forward-backward on a GPU: messages in both directions, frame after frame.

One program an item and direction. The matrix of weights is a band, one number for all jumps and one for a
change of voicing, so that a step costs 33 multiplications a state and one sum, not a matrix product.

Floor: 33 x 512 multiply-adds a step are 132 clocks of one multiprocessor, 0.07 µs at 1.8 GHz or 0.2 ms for
2584 frames; an exchange between the threads with one barrier and one sum over all of them come to that.
"""

from __future__ import annotations

from collections.abc import Iterator

import triton
import triton.language as tl

from torchprim.kernels.launch import Configuration
from torchprim.kernels.paths.viterbi_scores_triton import apart, costs, gap, reach, scan_constants, together

# What messages sum to before their frame's likelihood. Weights of two jumps one after the other, exp(-130)
# for jumps that cost 65, times this are still numbers in float32; and gradients of 1e15 times this are, too.
SIZE = tl.constexpr(2.0**64)


@triton.jit
def _sum_of(sum, v, table, x: tl.constexpr, r: tl.constexpr, BAND: tl.constexpr):
    """What state r of each group of four gets from the four states x groups further."""
    for q in tl.static_range(4):
        if gap(x, q, r) <= BAND:
            sum += v[q] * table[gap(x, q, r)]
    return sum


@triton.jit
def _sum_of_far(sum, v, weight_ptr, x, r: tl.constexpr):
    """As `_sum_of`, with the table in memory: 0 beyond the band."""
    for q in tl.static_range(4):
        sum += v[q] * tl.load(weight_ptr + tl.abs(4 * x + q - r))
    return sum


@triton.jit
def _band(ring, own, place, table, weight_ptr, side, T: tl.constexpr, BAND: tl.constexpr):
    """The messages times what the steps within the band weigh more than a jump."""
    mine = apart(own, T)
    b0 = tl.zeros((T,), tl.float32)
    b1, b2, b3 = b0, b0, b0
    if BAND >= 0:
        for x in tl.static_range(-reach(BAND), reach(BAND) + 1):
            v = mine
            if x != 0:
                v = apart(tl.load(ring + 4 * x + place), T)
            b0 = _sum_of(b0, v, table, x, 0, BAND)
            b1 = _sum_of(b1, v, table, x, 1, BAND)
            b2 = _sum_of(b2, v, table, x, 2, BAND)
            b3 = _sum_of(b3, v, table, x, 3, BAND)
    else:
        for x in range(-side, side + 1):
            v = apart(tl.load(ring + 4 * x + place), T)
            b0 = _sum_of_far(b0, v, weight_ptr + 2, x, 0)
            b1 = _sum_of_far(b1, v, weight_ptr + 2, x, 1)
            b2 = _sum_of_far(b2, v, weight_ptr + 2, x, 2)
            b3 = _sum_of_far(b3, v, weight_ptr + 2, x, 3)
    return together(b0, b1, b2, b3, T)


@triton.jit
def _sums(own, T: tl.constexpr):
    """For each thread the sum of its warp's 128 numbers."""
    sums = tl.sum(tl.reshape(tl.sum(own, 1), (T // 32, 32)), 1)
    return tl.reshape(tl.broadcast_to(sums[:, None], (T // 32, 32)), (T,))


@triton.jit
def _show(ring, own, place, side, T: tl.constexpr):
    """Numbers for the other threads: after the next barrier they see them, and their sums behind them."""
    tl.store(ring + place, own)
    tl.store(ring + 4 * (T + side) + tl.arange(0, T), _sums(own, T))


@triton.jit
def walk(
    likelihood_ptr, turned_ptr, weight_ptr, ring_ptr, messages_ptr, tangents_ptr,
    pitches, frames, side,
    T: tl.constexpr, BAND: tl.constexpr, REST: tl.constexpr, TANGENT: tl.constexpr,
):  # fmt: skip
    """Forward messages f (direction 0), with their frame's likelihood, and backward ones b without it.

    Both are u(n) = l(n) · W u(n - 1) · SIZE / sum of u(n - 1), over frames in either order, as W is
    symmetric; the second keeps what it has before the likelihood. Tangents, in the direction of the gradient
    g that came in, are u' = l · W u' · SIZE / sum + u · (g - c). Any number c gives the same marginals: the
    ratio of the sums of u' and u, one frame before, keeps tangents small.

    Neighbours read each other from a ring of two rows in global memory, as in `viterbi_scores_triton`.
    """
    item = tl.program_id(0).to(tl.int64)
    direction = tl.program_id(1)
    back = direction == 1
    place = 4 * tl.arange(0, T)[:, None] + tl.arange(0, 4)[None, :]
    pitch = place < pitches
    forth = (1 - 2 * direction) * (4 * T)  # from a frame to the next in this direction
    start = (item * frames + direction * (frames - 1)) * (4 * T)
    likelihood_ptr += start
    out = (direction * tl.num_programs(0).to(tl.int64)) * frames * (4 * T) + start
    messages_ptr += out
    # Of a ring: before a row, and after it, `side` groups of zeros; then the sums of its warps.
    size = 4 * (T + 2 * side) + T
    ring_ptr += 4 * side + (item * 2 + direction) * (2 + 2 * TANGENT) * size
    for row in tl.static_range(2 + 2 * TANGENT):
        zeros = tl.zeros((T, 4), tl.float32)
        tl.store(ring_ptr + row * size - 4 * side + place, zeros, mask=place < 4 * side)
        tl.store(ring_ptr + row * size + 4 * T + place, zeros, mask=place < 4 * side)
    table = costs(weight_ptr + 2, BAND)
    jumping, switching = tl.load(weight_ptr), tl.load(weight_ptr + 1)
    part = 4 * (T + side) + 32 * tl.arange(0, T // 32)
    last = frames - 1
    likely = tl.load(likelihood_ptr + place)
    own, rest, d_rest = tl.where(pitch, likely, 0.0), 0.0, 0.0
    ring = ring_ptr
    _show(ring, own, place, side, T)
    tl.store(messages_ptr + place, tl.where(back, 1.0, likely))
    if REST:
        rest = tl.load(likelihood_ptr + pitches)
    if TANGENT:
        turned_ptr += start
        tangents_ptr += out
        slope = tl.load(turned_ptr + place)
        d_own = own * slope
        _show(ring + 2 * size, d_own, place, side, T)
        tl.store(tangents_ptr + place, tl.where(back, 0.0, likely * slope))
        if REST:
            d_rest = rest * tl.load(turned_ptr + pitches)
        slope = tl.load(turned_ptr + tl.minimum(1, last) * forth + place)
        slope2 = tl.load(turned_ptr + tl.minimum(2, last) * forth + place)
    # What does not depend on the recursion is asked for two frames before it is needed.
    likely = tl.load(likelihood_ptr + tl.minimum(1, last) * forth + place)
    likely2 = tl.load(likelihood_ptr + tl.minimum(2, last) * forth + place)
    for n in range(1, frames):
        tl.debug_barrier()
        likelihood_ptr += forth
        messages_ptr += forth
        ahead = tl.minimum(2, last - n) * forth
        likely3 = tl.load(likelihood_ptr + ahead + place)
        total = tl.sum(tl.load(ring + part))
        inverse = 1.0 / (total + rest)
        scale = inverse * SIZE
        found = _band(ring, own, place, table, weight_ptr, side, T, BAND)
        found = (found + (jumping * total + switching * rest)) * scale
        if TANGENT:
            turned_ptr += forth
            tangents_ptr += forth
            slope3 = tl.load(turned_ptr + ahead + place)
            d_total = tl.sum(tl.load(ring + 2 * size + part))
            centre = (d_total + d_rest) * inverse
            d_found = _band(ring + 2 * size, d_own, place, table, weight_ptr, side, T, BAND)
            d_found = (d_found + (jumping * d_total + switching * d_rest)) * scale
        if REST:
            if TANGENT:
                d_rest = (switching * d_total + d_rest) * scale
                d_found = tl.where(place == pitches, d_rest, d_found)
            rest = (switching * total + rest) * scale
            found = tl.where(place == pitches, rest, found)
        whole = found * likely
        tl.store(messages_ptr + place, tl.where(back, found, whole))
        own = whole
        if REST:
            own = tl.where(pitch, whole, 0.0)
            likely_rest = tl.load(likelihood_ptr + pitches)
            rest *= likely_rest
        if TANGENT:
            d_whole = d_found * likely + whole * (slope - centre)
            tl.store(tangents_ptr + place, tl.where(back, d_found, d_whole))
            d_own = d_whole
            if REST:
                d_own = tl.where(pitch, d_whole, 0.0)
                d_rest = d_rest * likely_rest + rest * (tl.load(turned_ptr + pitches) - centre)
            slope, slope2 = slope2, slope3
        likely, likely2 = likely2, likely3
        ring = ring_ptr + (n % 2) * size
        _show(ring, own, place, side, T)
        if TANGENT:
            _show(ring + 2 * size, d_own, place, side, T)


def configurations() -> Iterator[Configuration]:
    """List all that can be launched; of the bands up to 32, those of `scan_constants`."""
    names = ("likelihood_ptr", "turned_ptr", "weight_ptr", "ring_ptr", "messages_ptr", "tangents_ptr")
    signature = dict.fromkeys(names, "*fp32") | dict.fromkeys(("pitches", "frames", "side"), "i32")
    for tangent in (False, True):
        for each, warps, common in scan_constants():
            yield Configuration(walk, signature, each | {"TANGENT": tangent}, warps, common=common)
