"""The loudest bins on a GPU: a search in a fifth of the magnitude.

The P loudest of n bins lie in the P chunks of 8 frames with the largest maxima: were one in another chunk,
each of the P chunks would hold a louder bin. So `torch.topk` searches n / 8 maxima, which come with the
magnitude or from a pass over it, and then 8 P candidates: for 1 % together 0.2 n. Directly it reads all n six
times (four digits, two to gather), or sorts them all where there are 10 items or fewer. 16 x 1025 x 2584 bins
are 170 MB: 1.0 GB and 0.24 ms at 4.3 TB/s directly, 0.2 GB from the cache in this way. Exact, without a sort.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.clustering.loudest import value_dtype
from torchprim.kernels.launch import Configuration
from torchprim.kernels.spectra.magnitude import CHUNK

MAXIMA = {"CHUNKS": 512, "EACH": CHUNK}
SELECTED = {"BLOCK": 1024, "EACH": CHUNK}
VALUES = {"BLOCK": 256}
WARPS = 4


@triton.jit
def _place(chunk, entry, frames, EACH: tl.constexpr):
    """Return the index of an entry of a chunk among the bins, and whether it lies in the chunk's row."""
    across = tl.cdiv(frames, EACH)
    n = chunk % across * EACH + entry
    return chunk // across * frames + n, n < frames


@triton.jit
def _maxima(x_ptr, out_ptr, bins, frames, chunks, CHUNKS: tl.constexpr, EACH: tl.constexpr):
    """Compute the maximum of each chunk."""
    item = tl.program_id(0).to(tl.int64)
    chunk = tl.program_id(1) * CHUNKS + tl.arange(0, CHUNKS)
    index, inside = _place(chunk[:, None], tl.arange(0, EACH)[None, :], frames, EACH)
    inside &= (chunk < chunks)[:, None]
    x = tl.load(x_ptr + item * bins + index, mask=inside, other=-float("inf")).to(tl.float32)
    tl.store(out_ptr + item * chunks + chunk, tl.max(x, 1), mask=chunk < chunks)


@triton.jit
def _candidates(
    x_ptr, chunk_ptr, out_ptr, bins, frames, selected, BLOCK: tl.constexpr, EACH: tl.constexpr
):  # fmt: skip
    """Gather all bins of the selected chunks."""
    item = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = i < selected * EACH
    chunk = tl.load(chunk_ptr + item * selected + i // EACH, mask=inside, other=0).to(tl.int32)
    index, in_row = _place(chunk, i % EACH, frames, EACH)
    x = tl.load(x_ptr + item * bins + index, mask=inside & in_row, other=-float("inf"))
    tl.store(out_ptr + item * selected * EACH + i, x.to(tl.float32), mask=inside)


@triton.jit
def _bins(candidate_ptr, chunk_ptr, out_ptr, frames, count, BLOCK: tl.constexpr, EACH: tl.constexpr):
    """Map indices of candidates to bins."""
    item = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    index = tl.load(candidate_ptr + item * count + i, mask=i < count, other=0).to(tl.int32)
    chunk = tl.load(chunk_ptr + item * count + index // EACH, mask=i < count, other=0).to(tl.int32)
    place, _ = _place(chunk, index % EACH, frames, EACH)
    tl.store(out_ptr + item * count + i, place.to(tl.int64), mask=i < count)


@triton.jit
def _points(index_ptr, count, bins, BLOCK: tl.constexpr):
    """Return the offsets of some points in the list of all items' points, and in a mask; which exist."""
    item = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = i < count
    point = item * count + i
    return point, item * bins + tl.load(index_ptr + point, mask=inside, other=0), inside


@triton.jit
def _values(masks, index_ptr, out_ptr, count, bins, D: tl.constexpr, BLOCK: tl.constexpr):
    point, offset, inside = _points(index_ptr, count, bins, BLOCK)
    points = tl.num_programs(0).to(tl.int64) * count
    for d in tl.static_range(D):
        x = tl.load(masks[d] + offset, mask=inside, other=0.0)
        tl.store(out_ptr + d * points + point, x, mask=inside)


@triton.jit
def _scatter(gradient_ptr, index_ptr, masks, count, bins, D: tl.constexpr, BLOCK: tl.constexpr):
    """Scatter gradients to their bins; no bin is repeated, so that no two write to one."""
    point, offset, inside = _points(index_ptr, count, bins, BLOCK)
    points = tl.num_programs(0).to(tl.int64) * count
    for d in tl.static_range(D):
        x = tl.load(gradient_ptr + d * points + point, mask=inside, other=0.0)
        tl.store(masks[d] + offset, x, mask=inside)


def forward(magnitude: Tensor, count: int, maxima: Tensor | None) -> Tensor:
    """Compute `loudest.reference` by kernels, in another order."""
    frames = magnitude.shape[-1]
    x = magnitude.flatten(-2).contiguous()
    lead, bins = x.shape[:-1], x.shape[-1]
    x = x.reshape(-1, bins)
    items = len(x)
    result = torch.empty((items, count), dtype=torch.int64, device=x.device)
    if items and 4 * CHUNK * count <= bins:
        chunks = bins // frames * triton.cdiv(frames, CHUNK)
        if maxima is None:
            maxima = torch.empty((items, chunks), dtype=torch.float32, device=x.device)
            grid = (items, triton.cdiv(chunks, MAXIMA["CHUNKS"]))
            _maxima[grid](x, maxima, bins, frames, chunks, **MAXIMA, num_warps=WARPS)
        chunk = maxima.reshape(items, chunks).topk(count, sorted=False).indices
        candidates = torch.empty((items, CHUNK * count), dtype=torch.float32, device=x.device)
        grid = (items, triton.cdiv(CHUNK * count, SELECTED["BLOCK"]))
        _candidates[grid](x, chunk, candidates, bins, frames, count, **SELECTED, num_warps=WARPS)
        candidate = candidates.topk(count, sorted=False).indices
        grid = (items, triton.cdiv(count, SELECTED["BLOCK"]))
        _bins[grid](candidate, chunk, result, frames, count, **SELECTED, num_warps=WARPS)
    elif items:  # a larger share would make candidates of nearly all bins
        result = x.topk(count, sorted=False).indices
    return result.view(*lead, count)


def _launch(masks: Sequence[Tensor], index: Tensor) -> tuple[tuple[int, int], dict[str, int]]:
    """Return grid and sizes of a launch over the points of all items."""
    count = index.shape[-1]
    grid = (index.numel() // count, triton.cdiv(count, VALUES["BLOCK"]))
    bins = masks[0].shape[-2] * masks[0].shape[-1]
    return grid, {"count": count, "bins": bins, "D": len(masks), **VALUES}


def values(masks: Sequence[Tensor], index: Tensor) -> Tensor:
    """Compute `loudest.reference_values` by kernels."""
    out = masks[0].new_empty((len(masks), *index.shape), dtype=value_dtype(masks))
    if out.numel():
        grid, sizes = _launch(masks, index)
        masks = tuple(mask.contiguous() for mask in masks)
        _values[grid](masks, index.contiguous(), out, **sizes, num_warps=WARPS)
    return out.movedim(0, -1)


def gradients(gradient: Tensor, masks: Sequence[Tensor], index: Tensor) -> list[Tensor]:
    """Compute `loudest.reference_gradients` by kernels."""
    results = [mask.new_zeros(mask.shape) for mask in masks]
    if gradient.numel():
        grid, sizes = _launch(masks, index)
        gradient = gradient.movedim(-1, 0).contiguous()
        _scatter[grid](gradient, index.contiguous(), tuple(results), **sizes, num_warps=WARPS)
    return results


def configurations() -> Iterator[Configuration]:
    """List all launches, for 4 masks (preset `paper`), 5 (`best`) and 8."""
    types = dict.fromkeys(("bins", "frames", "chunks", "count", "selected"), "i32")
    types |= dict.fromkeys(("x_ptr", "out_ptr", "gradient_ptr"), "*fp32")
    types |= dict.fromkeys(("chunk_ptr", "candidate_ptr", "index_ptr"), "*i64")
    yield Configuration.of(_maxima, types, MAXIMA, WARPS)
    yield Configuration.of(_candidates, types, SELECTED, WARPS)
    yield Configuration.of(_bins, types | {"out_ptr": "*i64"}, SELECTED, WARPS)
    for count in (4, 5, 8):
        types |= {"masks": ("*fp32",) * count}
        for kernel in (_values, _scatter):
            yield Configuration.of(kernel, types, {"D": count, **VALUES}, WARPS, common=count == 5)
        half = types | {"masks": ("*fp16",) * count}
        yield Configuration.of(_values, half, {"D": count, **VALUES}, WARPS, common=False)
