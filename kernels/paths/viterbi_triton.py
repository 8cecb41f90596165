"""Banded Viterbi on a GPU: the scores frame by frame, all else for all frames at once.

The serial part, `viterbi_scores_triton`, stores nothing but scores: a maximum costs an addition and a
comparison a candidate, its index two instructions more. `_pointers` finds the indices from the scores, for
all frames in parallel, and composes those of 32 frames. In `_trace` each program jumps back over such
groups of frames, and follows the frames of one.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration
from torchprim.kernels.paths.band import distance, fold_band, load_table, step
from torchprim.kernels.paths.columns import join_columns
from torchprim.kernels.paths.viterbi_scores_triton import scan_constants, scores

TRACE_WARPS = 1
GROUP = 32  # frames whose pointers are composed; a path is traced over groups, then within all of them


@triton.jit
def _first_maximum(value, index):
    """Return the largest of some numbers and the lowest index of it."""
    top = tl.max(value)
    return top, tl.min(tl.where(value == top, index, 1 << 30))


@triton.jit
def _first_near(state, columns, table, x: tl.constexpr, r: tl.constexpr, BAND: tl.constexpr):
    """Update best score and step to it, the first of equal ones, of column r by the group x further."""
    best, source = state
    for q in tl.static_range(4):
        if distance(x, q, r) <= BAND:
            other = columns[q] - table[distance(x, q, r)]
            source = tl.where(other > best, step(x, q, r), source)
            best = tl.maximum(best, other)
    return best, source


@triton.jit
def _first_far(state, columns, cost_ptr, x, r: tl.constexpr):
    """Do as `_first_near`, with the table in memory."""
    best, source = state
    for q in tl.static_range(4):
        other = columns[q] - tl.load(cost_ptr + tl.abs(4 * x + q - r))
        source = tl.where(other > best, 4 * x + q - r, source)
        best = tl.maximum(best, other)
    return best, source


@triton.jit
def _pointers(
    rows_ptr, rest_ptr, cost_ptr, pointers_ptr, composed_ptr,
    pitches, frames, side, band, jump, switch,
    T: tl.constexpr, BAND: tl.constexpr, REST: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Find the predecessor of each state of each frame, and of a group's last states before the group."""
    item = tl.program_id(0).to(tl.int64)
    group = tl.program_id(1)
    index = 4 * tl.arange(0, T)[:, None] + tl.arange(0, 4)[None, :]
    first = group * GROUP + 1
    stride = 4 * (T + side)
    rows_ptr += 4 * side + (item * frames + first - 1) * stride
    pointers_ptr += (item * frames + first) * (4 * T)
    table = load_table(cost_ptr, BAND)
    count = tl.minimum(GROUP, frames - first)
    for i in range(count):
        before = rows_ptr + i * stride
        start = (tl.full((T,), float("-inf"), tl.float32), tl.full((T,), 0, tl.int32) - band)
        c0, c1, c2, c3 = fold_band(
            _first_near, _first_far, (start, start, start, start), None, before, table, cost_ptr, side,
            T, BAND,
        )  # fmt: skip
        best = join_columns(c0[0], c1[0], c2[0], c3[0], T)
        source = index + join_columns(c0[1], c1[1], c2[1], c3[1], T)
        # Only where all scores are -inf does a state outside the range win.
        source = tl.minimum(tl.maximum(source, 0), pitches - 1)
        top, top_source = _first_maximum(tl.load(before + index), index)
        top_source = tl.minimum(top_source, pitches - 1)
        source = tl.where(top - jump > best, top_source, source)
        if REST:
            rest = tl.load(rest_ptr + item * frames + first + i - 1)
            best = tl.maximum(best, top - jump)
            source = tl.where(rest - switch > best, pitches, source)
            to_rest = tl.where(rest >= top - switch, pitches, top_source)
            source = tl.where(index == pitches, to_rest, source)
        tl.store(pointers_ptr + i * (4 * T) + index, source.to(tl.int16))
    tl.debug_barrier()  # threads of a block follow each other's pointers from here on
    state = index
    for i in range(count):
        state = tl.load(pointers_ptr + (count - 1 - i) * (4 * T) + state).to(tl.int32)
    composed_ptr += (item * tl.num_programs(1) + group) * (4 * T)
    tl.store(composed_ptr + index, state.to(tl.int16))


@triton.jit
def _trace(
    rows_ptr, rest_ptr, pointers_ptr, composed_ptr, path_ptr,
    pitches, frames, side,
    T: tl.constexpr, REST: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Trace from the best last state back over the later groups, then back through this group's frames."""
    item = tl.program_id(0).to(tl.int64)
    group, groups = tl.program_id(1), tl.num_programs(1)
    index = 4 * tl.arange(0, T)[:, None] + tl.arange(0, 4)[None, :]
    rows_ptr += 4 * side + (item * frames + frames - 1) * 4 * (T + side)
    top, state = _first_maximum(tl.load(rows_ptr + index), index)
    state = tl.minimum(state, pitches - 1)
    if REST:
        state = tl.where(tl.load(rest_ptr + item * frames + frames - 1) > top, pitches, state)
    for i in range(groups - 1 - group):
        later = item * groups + groups - 1 - i
        state = tl.load(composed_ptr + later * (4 * T) + state).to(tl.int32)
    first = item * frames + group * GROUP
    count = tl.minimum(GROUP, frames - 1 - group * GROUP)
    tl.store(path_ptr + first + count, state.to(tl.int64), mask=group == groups - 1)
    for i in range(count):
        n = first + count - i
        state = tl.load(pointers_ptr + n * (4 * T) + state).to(tl.int32)
        tl.store(path_ptr + n - 1, state.to(tl.int64))


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
    composed = torch.empty(items * groups * width, dtype=torch.int16, device=rows.device)
    grid, sizes = (items, groups), (pitches, frames, side)
    _pointers[grid](rows, rest, cost, pointers, composed, *sizes, band, jump, switch, **scan, GROUP=GROUP)
    constants = {"T": scan["T"], "REST": scan["REST"], "GROUP": GROUP}
    _trace[grid](rows, rest, pointers, composed, path, *sizes, **constants, num_warps=TRACE_WARPS)
    return path


def configurations() -> Iterator[Configuration]:
    """List all launches; of the bands up to 32, those of `scan_constants`."""
    types = dict.fromkeys(("rows_ptr", "rest_ptr", "cost_ptr"), "*fp32") | {"path_ptr": "*i64"}
    types |= dict.fromkeys(("pointers_ptr", "composed_ptr"), "*i16")
    types |= dict.fromkeys(("pitches", "frames", "side", "band"), "i32")
    types |= dict.fromkeys(("jump", "switch"), "fp32")
    for scan, warps, common in scan_constants():
        constants = scan | {"GROUP": GROUP}
        yield Configuration.of(_pointers, types, constants, warps, common=common)
        if constants.pop("BAND") < 0:  # `_trace` has no band
            common = scan["T"] == 128 and not scan["REST"]
            yield Configuration.of(_trace, types, constants, TRACE_WARPS, common=common)
