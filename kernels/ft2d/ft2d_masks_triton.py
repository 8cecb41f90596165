"""Masks of the 2DFT's two cues on a GPU.

16 x 1025 x 2584 numbers: 0.34 GB read and 0.34 GB written, 0.16 ms at 4.3 TB/s. The largest share of each
cue must be known first, but no share is above 1: the search stops, in all programs, when an entry of each
cue has reached 1. In songs two entries in three do. At worst the search reads everything, 0.08 ms more.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.ft2d.ft2d_masks import of_rows
from torchprim.kernels.launch import Configuration

SEARCH = {"BLOCK": 2048}
SEARCHERS = 64  # programs for each spectrogram
MASKS = {"BLOCK": 1024}
WARPS = 4


@triton.jit
def _factor(highest_ptr, item, norm):
    highest = tl.load(highest_ptr + item)
    return norm / tl.where(highest > 0, highest, 1.0)


@triton.jit
def _shares(a, x, factor):
    """Return the signed parts and the shares of both cues, not clamped; shares are 0 where `a` is.

    Divided exactly: a share of 1 has no gradient, but one of 1 - 2^-24, the fast division of a by a, has.
    """
    b = x * factor
    g = a - b
    present = a > 0
    a = tl.where(present, a, 1.0)
    share_b, share_g = tl.div_rn(tl.abs(b), a), tl.div_rn(tl.abs(g), a)
    return b, g, tl.where(present, share_b, 0.0), tl.where(present, share_g, 0.0)


@triton.jit
def _search(
    a_ptr, x_ptr, highest_ptr, largest_ptr, norm, rows, bins, frames, BLOCK: tl.constexpr,
):  # fmt: skip
    """Find the largest shares of a spectrogram, as bits of non-negative floats: they sort like integers."""
    item = tl.program_id(0).to(tl.int64)
    factor = _factor(highest_ptr, item, norm)
    entries = bins * frames
    a_ptr += item * entries
    x_ptr += item * rows * frames
    largest_ptr += 2 * item
    first = tl.program_id(1) * BLOCK
    most_b = 0.0
    most_g = 0.0
    while (first < entries) & (tl.minimum(most_b, most_g) < 1.0):
        i = first + tl.arange(0, BLOCK)
        a = tl.load(a_ptr + i, mask=i < entries, other=0.0)
        x = tl.load(x_ptr + tl.where(i < rows * frames, i, i - frames), mask=i < entries, other=0.0)
        _, _, b, g = _shares(a, x, factor)
        most_b = tl.maximum(most_b, tl.minimum(tl.max(b, 0), 1.0))
        most_g = tl.maximum(most_g, tl.minimum(tl.max(g, 0), 1.0))
        # A maximum is the same in any order; the atomic returns that of the other programs.
        other = tl.atomic_max(largest_ptr, most_b.to(tl.int32, bitcast=True), sem="relaxed")
        most_b = tl.maximum(most_b, other.to(tl.float32, bitcast=True))
        other = tl.atomic_max(largest_ptr + 1, most_g.to(tl.int32, bitcast=True), sem="relaxed")
        most_g = tl.maximum(most_g, other.to(tl.float32, bitcast=True))
        first += tl.num_programs(1) * BLOCK


@triton.jit
def _tile(rows, bins, frames, BLOCK: tl.constexpr):
    """Return item, bin and frames of a program, offsets of these, also in the background, and which exist."""
    item = (tl.program_id(0) // bins).to(tl.int64)
    row = tl.program_id(0) % bins
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    near = (item * rows + tl.minimum(row, rows - 1)) * frames + n
    return item, row, n, (item * bins + row) * frames + n, near, n < frames


@triton.jit
def _masks(
    a_ptr, x_ptr, highest_ptr, largest_ptr, gain_ptr, repetition_ptr, micro_ptr,
    norm, rows, bins, frames, BLOCK: tl.constexpr,
):  # fmt: skip
    item, row, _, offset, near, inside = _tile(rows, bins, frames, BLOCK)
    gain = tl.load(gain_ptr + row)
    largest_b = tl.load(largest_ptr + 2 * item)
    largest_g = tl.load(largest_ptr + 2 * item + 1)
    a = tl.load(a_ptr + offset, mask=inside, other=0.0)
    x = tl.load(x_ptr + near, mask=inside, other=0.0)
    _, _, b, g = _shares(a, x, _factor(highest_ptr, item, norm))
    # Clamped again after the division, which may round up.
    b = tl.minimum(tl.minimum(b, 1.0) / tl.where(largest_b > 0, largest_b, 1.0), 1.0)
    g = tl.minimum(tl.minimum(g, 1.0) / tl.where(largest_g > 0, largest_g, 1.0), 1.0)
    tl.store(repetition_ptr + offset, tl.where(a > 0, (1.0 - b) * gain, 0.0), mask=inside)
    tl.store(micro_ptr + offset, g * gain, mask=inside)


@triton.jit
def _shift(
    d_repetition_ptr, d_micro_ptr, a_ptr, x_ptr, highest_ptr, largest_ptr, gain_ptr, sum_ptr, key_ptr,
    norm, rows, bins, frames, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute, for each row and cue, the sum of gradient x share, and the largest share with its index.

    A cue whose largest share is 1 needs neither.
    """
    row = tl.program_id(0) % bins
    item = (tl.program_id(0) // bins).to(tl.int64)
    line = (item * bins + row) * frames
    near = (item * rows + tl.minimum(row, rows - 1)) * frames
    gain = tl.load(gain_ptr + row)
    factor = _factor(highest_ptr, item, norm)
    least = tl.minimum(tl.load(largest_ptr + 2 * item), tl.load(largest_ptr + 2 * item + 1))
    sum_b = tl.zeros((BLOCK,), tl.float32)
    sum_g = tl.zeros((BLOCK,), tl.float32)
    key_b = tl.zeros((BLOCK,), tl.int64)
    key_g = tl.zeros((BLOCK,), tl.int64)
    # The bits of a share above those of its index, in descending order: the first of equal shares is largest.
    last = 2147483647 - row * frames
    for first in range(0, tl.where(least < 1.0, frames, 0), BLOCK):
        n = first + tl.arange(0, BLOCK)
        inside = n < frames
        a = tl.load(a_ptr + line + n, mask=inside, other=0.0)
        x = tl.load(x_ptr + near + n, mask=inside, other=0.0)
        _, _, b, g = _shares(a, x, factor)
        b = tl.minimum(b, 1.0)
        g = tl.minimum(g, 1.0)
        d = tl.load(d_repetition_ptr + line + n, mask=inside, other=0.0)
        sum_b -= tl.where(a > 0, d, 0.0) * gain * b
        d = tl.load(d_micro_ptr + line + n, mask=inside, other=0.0)
        sum_g += tl.where(a > 0, d, 0.0) * gain * g
        index = (last - n).to(tl.int64)
        key = b.to(tl.int32, bitcast=True).to(tl.int64) * 4294967296 + index
        key_b = tl.maximum(key_b, tl.where(inside, key, 0))
        key = g.to(tl.int32, bitcast=True).to(tl.int64) * 4294967296 + index
        key_g = tl.maximum(key_g, tl.where(inside, key, 0))
    out = 2 * (item * bins + row)
    tl.store(sum_ptr + out, tl.sum(sum_b))
    tl.store(sum_ptr + out + 1, tl.sum(sum_g))
    tl.store(key_ptr + out, tl.max(key_b))
    tl.store(key_ptr + out + 1, tl.max(key_g))


@triton.jit
def _to_share(d, shift, where, index, present, raw, largest):
    """Compute the gradient to a share before it is clamped."""
    over = 1.0 / tl.where(largest > 0, largest, 1.0)
    d = tl.where(present, d, 0.0) * over - tl.where(index == where, shift * over * over, 0.0)
    return tl.where(present & (raw < 1.0), d, 0.0)


@triton.jit
def _gradients(
    d_repetition_ptr, d_micro_ptr, a_ptr, x_ptr, highest_ptr, largest_ptr, gain_ptr, shift_ptr, key_ptr,
    d_a_ptr, d_x_ptr, partial_ptr,
    norm, rows, bins, frames, BLOCK: tl.constexpr,
):  # fmt: skip
    item, row, n, offset, near, inside = _tile(rows, bins, frames, BLOCK)
    gain = tl.load(gain_ptr + row)
    factor = _factor(highest_ptr, item, norm)
    a = tl.load(a_ptr + offset, mask=inside, other=0.0)
    x = tl.load(x_ptr + near, mask=inside, other=0.0)
    b, g, raw_b, raw_g = _shares(a, x, factor)
    present = a > 0
    a = tl.where(present, a, 1.0)
    index = row * frames + n
    where = 2147483647 - (tl.load(key_ptr + 2 * item) & 4294967295)
    d = -gain * tl.load(d_repetition_ptr + offset, mask=inside, other=0.0)
    shift = tl.load(shift_ptr + 2 * item)
    d_b = _to_share(d, shift, where, index, present, raw_b, tl.load(largest_ptr + 2 * item))
    where = 2147483647 - (tl.load(key_ptr + 2 * item + 1) & 4294967295)
    d = gain * tl.load(d_micro_ptr + offset, mask=inside, other=0.0)
    shift = tl.load(shift_ptr + 2 * item + 1)
    d_g = _to_share(d, shift, where, index, present, raw_g, tl.load(largest_ptr + 2 * item + 1))
    slope_b = tl.where(b > 0, d_b, tl.where(b < 0, -d_b, 0.0)) / a
    slope_g = tl.where(g > 0, d_g, tl.where(g < 0, -d_g, 0.0)) / a
    tl.store(d_a_ptr + offset, slope_g - (d_b * raw_b + d_g * raw_g) / a, mask=inside)
    d = slope_b - slope_g
    tl.store(d_x_ptr + offset, d * factor, mask=inside)
    highest = tl.load(highest_ptr + item)
    total = tl.where(highest > 0, -tl.sum(tl.where(inside, d * b, 0.0)), 0.0)
    program = (item * bins + row) * tl.num_programs(1) + tl.program_id(1)
    tl.store(partial_ptr + program, total / tl.where(highest > 0, highest, 1.0))


def forward(
    magnitude: Tensor, background: Tensor, highest: Tensor, norm: float, gain: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `ft2d_masks.reference` by kernels."""
    magnitude, background, highest = (x.contiguous() for x in (magnitude, background, highest))
    bins, frames = magnitude.shape[-2:]
    repetition, micro = (torch.empty_like(magnitude, dtype=dtype) for _ in range(2))
    bits = torch.zeros(*highest.shape, 2, dtype=torch.int32, device=magnitude.device)
    largest = bits.view(torch.float32)
    if magnitude.numel():
        grid = (highest.numel(), min(SEARCHERS, triton.cdiv(bins * frames, SEARCH["BLOCK"])))
        sizes = (norm, background.shape[-2], bins, frames)
        _search[grid](magnitude, background, highest, bits, *sizes, **SEARCH, num_warps=WARPS)
        grid = (highest.numel() * bins, triton.cdiv(frames, MASKS["BLOCK"]))
        read = (magnitude, background, highest, largest, gain.contiguous())
        _masks[grid](*read, repetition, micro, *sizes, **MASKS, num_warps=WARPS)
    return repetition, micro, largest


def backward(
    d_repetition: Tensor,
    d_micro: Tensor,
    magnitude: Tensor,
    background: Tensor,
    highest: Tensor,
    largest: Tensor,
    norm: float,
    gain: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `ft2d_masks.reference_gradients` by kernels."""
    read = (d_repetition, d_micro, magnitude, background, highest, largest, gain)
    read = tuple(x.contiguous() for x in read)
    rows, bins, frames = background.shape[-2], *magnitude.shape[-2:]
    d_magnitude, d_background = torch.empty_like(read[2]), torch.empty_like(read[2])
    if not magnitude.numel():
        return d_magnitude, torch.empty_like(read[3]), torch.zeros_like(highest)
    items = highest.numel()
    sums = torch.empty(items, bins, 2, dtype=torch.float32, device=magnitude.device)
    keys = torch.empty(items, bins, 2, dtype=torch.int64, device=magnitude.device)
    sizes = (norm, rows, bins, frames)
    _shift[(items * bins,)](*read, sums, keys, *sizes, **MASKS, num_warps=WARPS)
    grid = (items * bins, triton.cdiv(frames, MASKS["BLOCK"]))
    partial = torch.empty(items, bins * grid[1], dtype=torch.float32, device=magnitude.device)
    written = (sums.sum(1), keys.amax(1), d_magnitude, d_background, partial)
    _gradients[grid](*read, *written, *sizes, **MASKS, num_warps=WARPS)
    return d_magnitude, of_rows(d_background, rows), partial.sum(1).view(highest.shape)


def configurations() -> Iterator[Configuration]:
    """List all launches."""
    names = {name for kernel in (_masks, _shift, _gradients) for name in kernel.arg_names}
    types = dict.fromkeys((name for name in names if name.endswith("_ptr")), "*fp32") | {"key_ptr": "*i64"}
    types |= {"norm": "fp32"} | dict.fromkeys(("rows", "bins", "frames"), "i32")
    yield Configuration.of(_search, types | {"largest_ptr": "*i32"}, SEARCH, WARPS)
    for kernel in (_masks, _shift, _gradients):
        yield Configuration.of(kernel, types, MASKS, WARPS)
    types |= dict.fromkeys(("repetition_ptr", "micro_ptr"), "*fp16")
    yield Configuration.of(_masks, types, MASKS, WARPS, common=False)
