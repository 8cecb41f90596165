"""Running medians on a GPU: selection networks in registers, along any axis, with no transposed copy.

Minima and maxima an output decide (20.6 for a window of 17, 32.4 for 31), not bytes: an H200 does 64 of them
a clock and multiprocessor, so that 42 million outputs of a window of 31 take 0.09 ms at least; reading and
writing them once takes 0.08 ms.

A thread computes 16 neighbouring outputs with one network (fewer for windows under 16). Along an outer axis
threads are neighbours on the inner ones, and all loads are coalesced. Along the innermost axis blocks are
read coalesced, and one exchange through shared memory hands each thread its neighbouring samples; another
hands the outputs back.
"""

# Tuples of tensors grow by `+`: Triton compiles no other way.
# ruff: noqa: RUF005
from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.hpss import selection_network as networks
from torchprim.kernels.launch import Configuration

# A program computes R rows by C columns, a column a thread.
ROWS = 16
COLUMNS = {"wide": 128, "narrow": 32}
# Part of Triton's cache key: another network is another kernel.
_NETWORKS = tl.constexpr(hashlib.sha256(inspect.getsource(networks).encode()).hexdigest())


def tile(window: int) -> int:
    """Return how many outputs share a network: the largest power of two within the window, at most 16."""
    return min(ROWS, 1 << (window.bit_length() - 1))


def columns(extent: int) -> int:
    """Return the columns of a program where rows have `extent` of them."""
    return COLUMNS["wide"] if extent > COLUMNS["wide"] // 2 else COLUMNS["narrow"]


@triton.constexpr_function
def _steps(window, outputs):
    from torchprim.kernels.hpss.selection_network import selection_network

    return selection_network(window, window // 2, outputs).steps


@triton.constexpr_function
def _selected(window, outputs):
    from torchprim.kernels.hpss.selection_network import selection_network

    return selection_network(window, window // 2, outputs).outputs


@triton.jit
def _select(values, WINDOW: tl.constexpr, TILE: tl.constexpr):
    """Select the medians of TILE neighbouring windows: a tuple of samples -> a tuple of outputs."""
    tl.static_assert(_NETWORKS != "")
    steps: tl.constexpr = _steps(WINDOW, TILE)
    selected: tl.constexpr = _selected(WINDOW, TILE)
    nan: tl.constexpr = tl.PropagateNan.ALL
    for i in tl.static_range(len(steps)):
        if steps[i][0]:
            values = values + (tl.maximum(values[steps[i][1]], values[steps[i][2]], nan),)
        else:
            values = values + (tl.minimum(values[steps[i][1]], values[steps[i][2]], nan),)
    medians = ()
    for i in tl.static_range(TILE):
        medians = medians + (values[selected[i]],)
    return medians


@triton.jit
def _mirrored(i, length):
    """Mirror an index at both ends, the edge repeated; an index beyond the mirror image becomes 0."""
    i = tl.maximum(i, -1 - i)
    return tl.maximum(tl.minimum(i, 2 * length - 1 - i), 0)


@triton.jit
def _unstack(x, A: tl.constexpr, B: tl.constexpr, N: tl.constexpr):
    """Split (N, A, B) into N tensors (A, B): free, as the first axis lies in a thread's registers."""
    parts = (x,)
    for level in tl.static_range(4):
        if (N >> level) > 1:
            low, high = (), ()
            for i in tl.static_range(2**level):
                pair = tl.reshape(parts[i], (N >> (level + 1), 2, A, B))
                first, second = tl.split(tl.permute(pair, (0, 2, 3, 1)))
                low, high = low + (first,), high + (second,)
            parts = low + high
    flat = ()
    for i in tl.static_range(N):
        flat = flat + (tl.reshape(parts[i], (A, B)),)
    return flat


@triton.jit
def _stack(parts, A: tl.constexpr, B: tl.constexpr, N: tl.constexpr):
    """Stack N tensors (A, B) to (N, A, B)."""
    shaped = ()
    for i in tl.static_range(N):
        shaped = shaped + (tl.reshape(parts[i], (1, A, B)),)
    for level in tl.static_range(4):
        if (N >> level) > 1:
            joined = ()
            for i in tl.static_range(N >> (level + 1)):
                pair = tl.join(shaped[i], shaped[i + (N >> (level + 1))])
                joined = joined + (tl.reshape(tl.permute(pair, (0, 3, 1, 2)), (2 << level, A, B)),)
            shaped = joined
    return shaped[0]


@triton.jit
def medians_inside(
    x_ptr, lines, first, length,
    WINDOW: tl.constexpr, TILE: tl.constexpr, R: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Compute medians along the innermost axis, of R lines from `x_ptr`, C samples from `first`: (R * C,)."""
    index = tl.arange(0, R * C)
    line = x_ptr + tl.minimum(index // C, lines - 1) * length
    values = ()
    for block in tl.static_range((WINDOW + 2 * TILE - 2) // TILE):
        i = _mirrored(first + block * TILE - WINDOW // 2 + index % C, length)
        x = tl.reshape(tl.load(line + i).to(tl.float32), (R, C // TILE, TILE))
        values = values + _unstack(tl.permute(x, (2, 0, 1)), R, C // TILE, TILE)
    medians = _select(values[: WINDOW + TILE - 1], WINDOW, TILE)
    return tl.reshape(tl.permute(_stack(medians, R, C // TILE, TILE), (1, 2, 0)), (R * C,))


@triton.jit
def medians_across(
    x_ptr, lines, first, length, stride,
    WINDOW: tl.constexpr, TILE: tl.constexpr, R: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Compute medians along an outer axis, R samples from `first`, of lines that begin at `lines` (C,).

    Returns:
        The medians and the samples, (R * C,) each.
    """
    values = ()
    for j in tl.static_range(R + WINDOW - 1):
        row = _mirrored(first + j - WINDOW // 2, length)
        values = values + (tl.load(x_ptr + (lines + row * stride)).to(tl.float32),)
    medians = ()
    for group in tl.static_range(0, R, TILE):
        medians = medians + _select(values[group : group + WINDOW + TILE - 1], WINDOW, TILE)
    samples = values[WINDOW // 2 : WINDOW // 2 + R]
    return tl.reshape(_stack(medians, 1, C, R), (R * C,)), tl.reshape(_stack(samples, 1, C, R), (R * C,))


@triton.jit
def _inside(
    x_ptr, out_ptr, lines, length,
    WINDOW: tl.constexpr, TILE: tl.constexpr, R: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(length, C)
    first_line = tl.program_id(0) // blocks * R
    first = tl.program_id(0) % blocks * C
    start = first_line.to(tl.int64) * length
    medians = medians_inside(x_ptr + start, lines - first_line, first, length, WINDOW, TILE, R, C)
    index = tl.arange(0, R * C)
    line, i = index // C, first + index % C
    mask = (line < lines - first_line) & (i < length)
    tl.store(out_ptr + start + (line * length + i), medians, mask=mask)


@triton.jit
def _across(
    x_ptr, out_ptr, lines, length, inner,
    WINDOW: tl.constexpr, TILE: tl.constexpr, R: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Compute medians along `length` of planes (length, inner); offsets within a program fit 32 bits."""
    first = tl.program_id(1) * R
    first_line = tl.program_id(0) * C
    plane = (first_line // inner).to(tl.int64) * length * inner
    index = tl.arange(0, R * C)
    line = tl.minimum(first_line + tl.arange(0, C), lines - 1)
    start = (line // inner - first_line // inner) * length * inner + line % inner
    medians, _ = medians_across(x_ptr + plane, start, first, length, inner, WINDOW, TILE, R, C)
    line, row = first_line + index % C, first + index // C
    start = (line // inner - first_line // inner) * length * inner + line % inner
    mask = (row < length) & (line < lines)
    tl.store(out_ptr + plane + (start + row * inner), medians, mask=mask)


def planes(x: Tensor, dim: int) -> tuple[int, int, int]:
    """Return the extents before, along and after an axis."""
    dim %= x.dim()
    return math.prod(x.shape[:dim]), x.shape[dim], math.prod(x.shape[dim + 1 :])


def forward(x: Tensor, window: int, dim: int) -> Tensor:
    """Compute `sliding_median.reference` by kernels."""
    x = x.contiguous()
    out = torch.empty_like(x)
    outer, length, inner = planes(x, dim)
    if inner == 1:
        c = columns(length)
        grid = (triton.cdiv(outer, ROWS) * triton.cdiv(length, c),)
        _inside[grid](x, out, outer, length, window, tile(window), ROWS, c, num_warps=c // 32)
    else:
        c = columns(outer * inner)
        grid = (triton.cdiv(outer * inner, c), triton.cdiv(length, ROWS))
        _across[grid](x, out, outer * inner, length, inner, window, tile(window), ROWS, c, num_warps=c // 32)
    return out


# The smallest and the largest window of each tile, where registers are fewest and most, and the defaults.
COMPILED = (1, 2, 3, 4, 7, 8, 15, 17, 31, 63)
DEFAULTS = (17, 31)


def variants(usual: bool) -> Iterator[tuple[str, int]]:
    """List the input's dtype and the columns of a program: all of them for usual windows."""
    for dtype in ("*fp32", "*fp16", "*bf16") if usual else ("*fp32",):
        yield dtype, COLUMNS["wide"]
    if usual:
        yield "*fp32", COLUMNS["narrow"]


def configurations() -> Iterator[Configuration]:
    """List the launches for the windows in `COMPILED`."""
    for window in COMPILED:
        for dtype, c in variants(window in DEFAULTS):
            common = window == 17 and (dtype, c) == ("*fp32", COLUMNS["wide"])
            constants = {"WINDOW": window, "TILE": tile(window), "R": ROWS, "C": c}
            signature = {"x_ptr": dtype, "out_ptr": dtype, "lines": "i32", "length": "i32"}
            yield Configuration(_inside, signature, constants, c // 32, common=common)
            yield Configuration(_across, signature | {"inner": "i32"}, constants, c // 32, common=common)
