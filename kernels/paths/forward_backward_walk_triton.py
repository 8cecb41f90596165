"""The serial part of forward-backward on a GPU: messages in both directions, frame by frame.

One program an item and direction. The weights are a band, one number for all jumps and one for a change of
voicing, so that a step costs 33 multiplications a state and one sum, not a matrix product.

Floor: 33 x 512 multiply-adds a step are 132 clocks of one multiprocessor, 0.07 µs at 1.8 GHz or 0.2 ms for
2584 frames; plus an exchange between the threads with one barrier, and one sum over all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import triton
import triton.language as tl

from torchprim.kernels.launch import Configuration
from torchprim.kernels.paths.band import distance, fold_band, join_columns, load_table, split_columns
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
def _band(ring, message, index, table, weight_ptr, side, T: tl.constexpr, BAND: tl.constexpr):
    """Multiply messages by the band: the weights of its steps minus that of a jump."""
    own = split_columns(message, T)
    zero = tl.zeros((T,), tl.float32)
    b0, b1, b2, b3 = fold_band(
        _sum_near, _sum_far, (zero, zero, zero, zero), own, ring, index, table, weight_ptr + 2, side, T, BAND
    )  # fmt: skip
    return join_columns(b0, b1, b2, b3, T)


@triton.jit
def _warp_sums(message, T: tl.constexpr):
    """Compute for each thread the sum of its warp's 128 numbers."""
    sums = tl.sum(tl.reshape(tl.sum(message, 1), (T // 32, 32)), 1)
    return tl.reshape(tl.broadcast_to(sums[:, None], (T // 32, 32)), (T,))


@triton.jit
def _publish(ring, message, index, side, T: tl.constexpr):
    """Store messages for the other threads, and the sums of the warps after them; a barrier must follow."""
    tl.store(ring + index, message)
    tl.store(ring + 4 * (T + side) + tl.arange(0, T), _warp_sums(message, T))


@triton.jit
def walk(
    likelihood_ptr, gradient_ptr, weight_ptr, ring_ptr, messages_ptr, tangents_ptr,
    pitches, frames, side,
    T: tl.constexpr, BAND: tl.constexpr, REST: tl.constexpr, TANGENT: tl.constexpr,
):  # fmt: skip
    """Compute forward messages (direction 0), with their frame's likelihood, and backward ones without it.

    Both are u(n) = l(n) · W u(n - 1) · SIZE / sum of u(n - 1), over frames in either order, as W is
    symmetric; backward messages are stored before the likelihood. Tangents along the gradient g are
    u' = l · W u' · SIZE / sum + u · (g - c). Any number c gives the same marginals: the ratio of the sums of
    u' and u, one frame before, keeps tangents small.

    Neighbours exchange messages through a ring of two rows in global memory, as in `viterbi_scores_triton`.
    """
    item = tl.program_id(0).to(tl.int64)
    direction = tl.program_id(1)
    backward = direction == 1
    index = 4 * tl.arange(0, T)[:, None] + tl.arange(0, 4)[None, :]
    pitch = index < pitches
    stride = (1 - 2 * direction) * (4 * T)  # to the next frame in this direction
    start = (item * frames + direction * (frames - 1)) * (4 * T)
    likelihood_ptr += start
    out = (direction * tl.num_programs(0).to(tl.int64)) * frames * (4 * T) + start
    messages_ptr += out
    # A row of the ring has `side` groups of zeros before and after it; then the sums of its warps.
    size = 4 * (T + 2 * side) + T
    ring_ptr += 4 * side + (item * 2 + direction) * (2 + 2 * TANGENT) * size
    for row in tl.static_range(2 + 2 * TANGENT):
        zeros = tl.zeros((T, 4), tl.float32)
        tl.store(ring_ptr + row * size - 4 * side + index, zeros, mask=index < 4 * side)
        tl.store(ring_ptr + row * size + 4 * T + index, zeros, mask=index < 4 * side)
    table = load_table(weight_ptr + 2, BAND)
    jumping, switching = tl.load(weight_ptr), tl.load(weight_ptr + 1)
    sums = 4 * (T + side) + 32 * tl.arange(0, T // 32)
    last = frames - 1
    likelihood = tl.load(likelihood_ptr + index)
    message, rest, d_rest = tl.where(pitch, likelihood, 0.0), 0.0, 0.0
    ring = ring_ptr
    _publish(ring, message, index, side, T)
    tl.store(messages_ptr + index, tl.where(backward, 1.0, likelihood))
    if REST:
        rest = tl.load(likelihood_ptr + pitches)
    if TANGENT:
        gradient_ptr += start
        tangents_ptr += out
        slope = tl.load(gradient_ptr + index)
        d_message = message * slope
        _publish(ring + 2 * size, d_message, index, side, T)
        tl.store(tangents_ptr + index, tl.where(backward, 0.0, likelihood * slope))
        if REST:
            d_rest = rest * tl.load(gradient_ptr + pitches)
        slope = tl.load(gradient_ptr + tl.minimum(1, last) * stride + index)
        slope2 = tl.load(gradient_ptr + tl.minimum(2, last) * stride + index)
    # Loads that do not depend on the recursion are issued two frames ahead.
    likelihood = tl.load(likelihood_ptr + tl.minimum(1, last) * stride + index)
    likelihood2 = tl.load(likelihood_ptr + tl.minimum(2, last) * stride + index)
    for n in range(1, frames):
        tl.debug_barrier()
        likelihood_ptr += stride
        messages_ptr += stride
        ahead = tl.minimum(2, last - n) * stride
        likelihood3 = tl.load(likelihood_ptr + ahead + index)
        total = tl.sum(tl.load(ring + sums))
        inverse = 1.0 / (total + rest)
        scale = inverse * SIZE
        before = _band(ring, message, index, table, weight_ptr, side, T, BAND)
        before = (before + (jumping * total + switching * rest)) * scale
        if TANGENT:
            gradient_ptr += stride
            tangents_ptr += stride
            slope3 = tl.load(gradient_ptr + ahead + index)
            d_total = tl.sum(tl.load(ring + 2 * size + sums))
            centre = (d_total + d_rest) * inverse
            d_before = _band(ring + 2 * size, d_message, index, table, weight_ptr, side, T, BAND)
            d_before = (d_before + (jumping * d_total + switching * d_rest)) * scale
        if REST:
            if TANGENT:
                d_rest = (switching * d_total + d_rest) * scale
                d_before = tl.where(index == pitches, d_rest, d_before)
            rest = (switching * total + rest) * scale
            before = tl.where(index == pitches, rest, before)
        after = before * likelihood
        tl.store(messages_ptr + index, tl.where(backward, before, after))
        message = after
        if REST:
            message = tl.where(pitch, after, 0.0)
            likelihood_rest = tl.load(likelihood_ptr + pitches)
            rest *= likelihood_rest
        if TANGENT:
            d_after = d_before * likelihood + after * (slope - centre)
            tl.store(tangents_ptr + index, tl.where(backward, d_before, d_after))
            d_message = d_after
            if REST:
                d_message = tl.where(pitch, d_after, 0.0)
                d_rest = d_rest * likelihood_rest + rest * (tl.load(gradient_ptr + pitches) - centre)
            slope, slope2 = slope2, slope3
        likelihood, likelihood2 = likelihood2, likelihood3
        ring = ring_ptr + (n % 2) * size
        _publish(ring, message, index, side, T)
        if TANGENT:
            _publish(ring + 2 * size, d_message, index, side, T)


def configurations() -> Iterator[Configuration]:
    """List all launches; of the bands up to 32, those of `scan_constants`."""
    names = ("likelihood_ptr", "gradient_ptr", "weight_ptr", "ring_ptr", "messages_ptr", "tangents_ptr")
    signature = dict.fromkeys(names, "*fp32") | dict.fromkeys(("pitches", "frames", "side"), "i32")
    for tangent in (False, True):
        for constants, warps, common in scan_constants():
            yield Configuration(walk, signature, constants | {"TANGENT": tangent}, warps, common=common)
