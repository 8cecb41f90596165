"""The best score of the states within a band of each, from running maxima that threads exchange."""

from __future__ import annotations

import triton
import triton.language as tl

from torchprim.kernels.paths.columns import split_columns
from torchprim.kernels.paths.ring import fetch, fetch4, past, put, put4

MAXIMA = tl.constexpr(16)  # places for those of the warps, at the start of a row of the ring


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
def largest_of_all(row, T: tl.constexpr):
    """Compute the largest of all scores from `publish`, in each of T threads anew."""
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
def publish(row, x, side, slope, T: tl.constexpr, BAND: tl.constexpr):
    """Store for the other threads: running maxima of each group, in both directions, and their last.

    A row: the warps' largest scores; then, with padding between them, maxima from each state to the end of
    its group, as seen from that state; from the group's start to each state; those of whole groups, seen
    from their start and from their end.
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
def _shifted_far(row_ptr, states, T: tl.constexpr):
    """Do as `_shifted` by any number of states, in global memory."""
    index = 4 * tl.arange(0, T)[:, None] + tl.arange(0, 4)[None, :]
    return split_columns(tl.load(row_ptr + states + index), T)


@triton.jit
def _whole_groups(before, after, full, slope, T: tl.constexpr):
    """Compute the largest of the groups 1 to `full - 1` further, in both directions, as seen from the own."""
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
def best_in_band(row, x, side, band, slope, T: tl.constexpr, BAND: tl.constexpr):
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
