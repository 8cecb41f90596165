"""Banded Viterbi on a GPU: the scores frame by frame, all else for all frames at once.

The serial part, `viterbi_scores_triton`, keeps nothing but scores: a largest value costs an addition and a
maximum a candidate, its index two instructions more. `_pointers` finds the indices from the stored scores,
for all frames in parallel, and where each 32 frames lead from their end to their start. `_trace` jumps back
over those groups of frames, each program on its own, and follows the frames of one.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration
from torchprim.kernels.paths.viterbi_scores_triton import (
    apart,
    away,
    costs,
    gap,
    reach,
    scan_constants,
    scores,
    together,
)

TRACE_WARPS = 1
GROUP = 32  # frames whose pointers are joined; a path is traced over groups, then within all of them


@triton.jit
def _lowest_best(value, place):
    """The largest of some numbers and the lowest place that holds it."""
    top = tl.max(value)
    return top, tl.min(tl.where(value == top, place, 1 << 30))


@triton.jit
def _first_of(best, source, v, table, x: tl.constexpr, r: tl.constexpr, BAND: tl.constexpr):
    """As `_best_of`, with the distance of the best: the first of equal ones, as they come in order."""
    for q in tl.static_range(4):
        if gap(x, q, r) <= BAND:
            other = v[q] - table[gap(x, q, r)]
            source = tl.where(other > best, away(x, q, r), source)
            best = tl.maximum(best, other)
    return best, source


@triton.jit
def _first_of_far(best, source, v, cost_ptr, x, r: tl.constexpr):
    """As `_first_of`, with the table in memory."""
    for q in tl.static_range(4):
        other = v[q] - tl.load(cost_ptr + tl.abs(4 * x + q - r))
        source = tl.where(other > best, 4 * x + q - r, source)
        best = tl.maximum(best, other)
    return best, source


@triton.jit
def _pointers(
    rows_ptr, rest_ptr, cost_ptr, pointers_ptr, joined_ptr,
    pitches, frames, side, band, jump, switch,
    T: tl.constexpr, BAND: tl.constexpr, REST: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Where each state of each frame comes from, and where a group's last states come from."""
    item = tl.program_id(0).to(tl.int64)
    group = tl.program_id(1)
    place = 4 * tl.arange(0, T)[:, None] + tl.arange(0, 4)[None, :]
    first = group * GROUP + 1
    stride = 4 * (T + side)
    rows_ptr += 4 * side + (item * frames + first - 1) * stride
    pointers_ptr += (item * frames + first) * (4 * T)
    table = costs(cost_ptr, BAND)
    count = tl.minimum(GROUP, frames - first)
    for i in range(count):
        before = rows_ptr + i * stride
        b0 = tl.full((T,), float("-inf"), tl.float32)
        b1, b2, b3 = b0, b0, b0
        s0 = tl.full((T,), 0, tl.int32) - band
        s1, s2, s3 = s0, s0, s0
        if BAND >= 0:
            for x in tl.static_range(-reach(BAND), reach(BAND) + 1):
                v = apart(tl.load(before + 4 * x + place), T)
                b0, s0 = _first_of(b0, s0, v, table, x, 0, BAND)
                b1, s1 = _first_of(b1, s1, v, table, x, 1, BAND)
                b2, s2 = _first_of(b2, s2, v, table, x, 2, BAND)
                b3, s3 = _first_of(b3, s3, v, table, x, 3, BAND)
        else:
            for x in range(-side, side + 1):
                v = apart(tl.load(before + 4 * x + place), T)
                b0, s0 = _first_of_far(b0, s0, v, cost_ptr, x, 0)
                b1, s1 = _first_of_far(b1, s1, v, cost_ptr, x, 1)
                b2, s2 = _first_of_far(b2, s2, v, cost_ptr, x, 2)
                b3, s3 = _first_of_far(b3, s3, v, cost_ptr, x, 3)
        best, source = together(b0, b1, b2, b3, T), place + together(s0, s1, s2, s3, T)
        # Only where all scores are -inf does a state outside the range win.
        source = tl.minimum(tl.maximum(source, 0), pitches - 1)
        top, top_source = _lowest_best(tl.load(before + place), place)
        top_source = tl.minimum(top_source, pitches - 1)
        source = tl.where(top - jump > best, top_source, source)
        if REST:
            rest = tl.load(rest_ptr + item * frames + first + i - 1)
            best = tl.maximum(best, top - jump)
            source = tl.where(rest - switch > best, pitches, source)
            to_rest = tl.where(rest >= top - switch, pitches, top_source)
            source = tl.where(place == pitches, to_rest, source)
        tl.store(pointers_ptr + i * (4 * T) + place, source.to(tl.int16))
    tl.debug_barrier()  # the block's threads now follow each other's pointers
    state = place
    for i in range(count):
        state = tl.load(pointers_ptr + (count - 1 - i) * (4 * T) + state).to(tl.int32)
    joined_ptr += (item * tl.num_programs(1) + group) * (4 * T)
    tl.store(joined_ptr + place, state.to(tl.int16))


@triton.jit
def _trace(
    rows_ptr, rest_ptr, pointers_ptr, joined_ptr, path_ptr,
    pitches, frames, side,
    T: tl.constexpr, REST: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """The best last state, back over the groups behind this one, then back through this one's frames."""
    item = tl.program_id(0).to(tl.int64)
    group, groups = tl.program_id(1), tl.num_programs(1)
    place = 4 * tl.arange(0, T)[:, None] + tl.arange(0, 4)[None, :]
    rows_ptr += 4 * side + (item * frames + frames - 1) * 4 * (T + side)
    top, state = _lowest_best(tl.load(rows_ptr + place), place)
    state = tl.minimum(state, pitches - 1)
    if REST:
        state = tl.where(tl.load(rest_ptr + item * frames + frames - 1) > top, pitches, state)
    for i in range(groups - 1 - group):
        behind = item * groups + groups - 1 - i
        state = tl.load(joined_ptr + behind * (4 * T) + state).to(tl.int32)
    first = item * frames + group * GROUP
    count = tl.minimum(GROUP, frames - 1 - group * GROUP)
    tl.store(path_ptr + first + count, state.to(tl.int64), mask=group == groups - 1)
    for i in range(count):
        at = first + count - i
        state = tl.load(pointers_ptr + at * (4 * T) + state).to(tl.int32)
        tl.store(path_ptr + at - 1, state.to(tl.int64))


def forward(
    emission: Tensor, unvoiced: Tensor | None, band: int, slope: float, jump: float, switch: float
) -> Tensor:
    """Compute `viterbi.reference` by kernels."""
    items, pitches, frames = emission.shape
    path = torch.empty(items, frames, dtype=torch.int64, device=emission.device)
    if not path.numel():
        return path
    rows, rest, cost, side, scan = scores(emission, unvoiced, band, slope, jump, switch)
    width, groups = 4 * scan["T"], max(1, triton.cdiv(frames - 1, GROUP))
    pointers = torch.empty(items * frames * width, dtype=torch.int16, device=rows.device)
    joined = torch.empty(items * groups * width, dtype=torch.int16, device=rows.device)
    grid, sizes = (items, groups), (pitches, frames, side)
    _pointers[grid](rows, rest, cost, pointers, joined, *sizes, band, jump, switch, **scan, GROUP=GROUP)
    constants = {"T": scan["T"], "REST": scan["REST"], "GROUP": GROUP}
    _trace[grid](rows, rest, pointers, joined, path, *sizes, **constants, num_warps=TRACE_WARPS)
    return path


def configurations() -> Iterator[Configuration]:
    """List all that can be launched; of the bands up to 32, those of `scan_constants`."""
    tensors = dict.fromkeys(("rows_ptr", "rest_ptr", "cost_ptr"), "*fp32")
    tensors |= dict.fromkeys(("pointers_ptr", "joined_ptr"), "*i16")
    sizes = dict.fromkeys(("pitches", "frames", "side"), "i32")
    settings = {"band": "i32", "jump": "fp32", "switch": "fp32"}
    for each, warps, common in scan_constants():
        each |= {"GROUP": GROUP}
        yield Configuration(_pointers, tensors | sizes | settings, each, warps, common=common)
        if each["BAND"] < 0:  # there is no band in this one
            del each["BAND"]
            kinds = tensors | {"path_ptr": "*i64"} | sizes
            del kinds["cost_ptr"]
            yield Configuration(
                _trace, kinds, each, TRACE_WARPS, common=each["T"] == 128 and not each["REST"]
            )
