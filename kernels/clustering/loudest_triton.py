"""The loudest bins on a GPU: one read of the magnitude, then a search in a fifth of it.

The P loudest of n bins lie in the P chunks of 8 bins with the largest maxima: were one in another chunk,
each of the P chunks would hold a louder bin. So `torch.topk` searches n / 8 maxima and then 8 P candidates:
for 1 % together 0.2 n. Directly it reads all n six times (four digits, two to gather), or sorts them all
where there are 10 items or fewer. 16 x 1025 x 2584 bins are 170 MB, 0.04 ms at 4.3 TB/s: 1.0 GB and
0.24 ms directly, 0.17 GB from memory and 0.2 GB from the cache in this way. Exact, without a sort.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration
from torchprim.kernels.layout import by_frames, empty_like, in_one_layout

EACH = 8  # bins of a chunk: a sector of memory
MAXIMA = {"CHUNKS": 512, "EACH": EACH}
SELECTED = {"BLOCK": 1024, "EACH": EACH}
VALUES = {"BLOCK": 256}
WARPS = 4


@triton.jit
def _maxima(x_ptr, out_ptr, bins, chunks, CHUNKS: tl.constexpr, EACH: tl.constexpr):
    """Compute the maximum of each chunk."""
    item = tl.program_id(0).to(tl.int64)
    chunk = tl.program_id(1) * CHUNKS + tl.arange(0, CHUNKS)
    index = chunk[:, None] * EACH + tl.arange(0, EACH)[None, :]
    x = tl.load(x_ptr + item * bins + index, mask=index < bins, other=-float("inf")).to(tl.float32)
    tl.store(out_ptr + item * chunks + chunk, tl.max(x, 1), mask=chunk < chunks)


@triton.jit
def _candidates(x_ptr, chunk_ptr, out_ptr, bins, selected, BLOCK: tl.constexpr, EACH: tl.constexpr):
    """Gather all bins of the selected chunks."""
    item = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = i < selected * EACH
    chunk = tl.load(chunk_ptr + item * selected + i // EACH, mask=inside, other=0)
    index = chunk * EACH + i % EACH
    x = tl.load(x_ptr + item * bins + index, mask=inside & (index < bins), other=-float("inf"))
    tl.store(out_ptr + item * selected * EACH + i, x.to(tl.float32), mask=inside)


@triton.jit
def _bins(
    candidate_ptr, chunk_ptr, out_ptr, count, selected, rows, columns,
    CHUNKED: tl.constexpr, TURN: tl.constexpr, BLOCK: tl.constexpr, EACH: tl.constexpr,
):  # fmt: skip
    """Map indices of candidates to bins, and indices in memory to those of (F, N)."""
    item = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    index = tl.load(candidate_ptr + item * count + i, mask=i < count, other=0)
    if CHUNKED:
        chunk = tl.load(chunk_ptr + item * selected + index // EACH, mask=i < count, other=0)
        index = chunk * EACH + index % EACH
    if TURN:
        index = (index % columns) * rows + index // columns
    tl.store(out_ptr + item * count + i, index, mask=i < count)


@triton.jit
def _offset(index_ptr, item, i, count, rows, columns, TURN: tl.constexpr):
    """Return the offset of a bin in an item's mask of (rows, columns), transposed if bins are innermost."""
    index = tl.load(index_ptr + item * count + i, mask=i < count, other=0)
    if TURN:
        index = (index % rows) * columns + index // rows
    return item * rows * columns + index


@triton.jit
def _values(
    masks, index_ptr, out_ptr, count, rows, columns, spacing,
    D: tl.constexpr, TURN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    item = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    offset = _offset(index_ptr, item, i, count, rows, columns, TURN)
    for d in tl.static_range(D):
        x = tl.load(masks[d] + offset * spacing, mask=i < count, other=0.0)
        tl.store(out_ptr + (item * count + i) * D + d, x, mask=i < count)


@triton.jit
def _scatter(
    gradient_ptr, index_ptr, masks, count, rows, columns,
    D: tl.constexpr, TURN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Scatter gradients to their bins; no bin is repeated, so that no two write to one."""
    item = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    offset = _offset(index_ptr, item, i, count, rows, columns, TURN)
    for d in tl.static_range(D):
        x = tl.load(gradient_ptr + (item * count + i) * D + d, mask=i < count, other=0.0)
        tl.store(masks[d] + offset, x, mask=i < count)


def forward(magnitude: Tensor, count: int) -> Tensor:
    """Compute `loudest.reference` by kernels, in another order."""
    transposed = by_frames(magnitude)
    x = (magnitude.mT if transposed else magnitude).contiguous()
    rows, columns = x.shape[-2:]
    x = x.flatten(-2)
    lead, bins = x.shape[:-1], x.shape[-1]
    x = x.reshape(-1, bins)
    items = len(x)
    result = torch.empty((*lead, count), dtype=torch.int64, device=x.device)
    if not items:
        return result
    chunks = triton.cdiv(bins, EACH)
    chunked = 4 * EACH * count <= bins  # a larger share would make candidates of nearly all bins
    if chunked:
        maxima = torch.empty((items, chunks), dtype=torch.float32, device=x.device)
        grid = (items, triton.cdiv(chunks, MAXIMA["CHUNKS"]))
        _maxima[grid](x, maxima, bins, chunks, **MAXIMA, num_warps=WARPS)
        chunk = maxima.topk(count, sorted=False).indices
        candidates = torch.empty((items, EACH * count), dtype=torch.float32, device=x.device)
        grid = (items, triton.cdiv(EACH * count, SELECTED["BLOCK"]))
        _candidates[grid](x, chunk, candidates, bins, count, **SELECTED, num_warps=WARPS)
        candidate = candidates.topk(count, sorted=False).indices
    else:
        chunk = candidate = x.topk(count, sorted=False).indices
    grid = (items, triton.cdiv(count, SELECTED["BLOCK"]))
    arguments = (candidate, chunk, result, count, count, rows, columns)
    _bins[grid](*arguments, CHUNKED=chunked, TURN=transposed, **SELECTED, num_warps=WARPS)
    return result


def values(masks: Sequence[Tensor], index: Tensor) -> Tensor:
    """Compute `loudest.reference_values` by kernels."""
    out = masks[0].new_empty((*index.shape, len(masks)))
    if out.numel():
        transposed, spacing, masks = in_one_layout(masks)
        count = index.shape[-1]
        grid = (index.numel() // count, triton.cdiv(count, VALUES["BLOCK"]))
        sizes = (count, *masks[0].shape[-2:], spacing)
        constants = {"D": len(masks), "TURN": transposed, **VALUES}
        _values[grid](masks, index.contiguous(), out, *sizes, **constants, num_warps=WARPS)
    return out


def gradients(gradient: Tensor, masks: Sequence[Tensor], index: Tensor) -> list[Tensor]:
    """Compute `loudest.reference_gradients` by kernels."""
    results = [empty_like(mask).zero_() for mask in masks]
    if gradient.numel():
        # The kernel writes all of them in the layout of the first.
        transposed = by_frames(results[0])
        alike = all(by_frames(x) == transposed for x in results)
        written = results if alike else [torch.zeros_like(results[0]) for _ in results]
        planes = tuple(x.mT if transposed else x for x in written)
        count = index.shape[-1]
        grid = (index.numel() // count, triton.cdiv(count, VALUES["BLOCK"]))
        sizes = (count, *planes[0].shape[-2:])
        constants = {"D": len(results), "TURN": transposed, **VALUES}
        _scatter[grid](
            gradient.contiguous(), index.contiguous(), planes, *sizes, **constants, num_warps=WARPS
        )
        if not alike:
            results = [x.copy_(y) for x, y in zip(results, written, strict=True)]
    return results


def configurations() -> Iterator[Configuration]:
    """List all launches, for 4 masks (preset `paper`), 5 (`best`) and 8."""
    numbers = ("bins", "chunks", "count", "selected", "rows", "columns", "spacing")
    types = dict.fromkeys(numbers, "i32") | dict.fromkeys(("x_ptr", "out_ptr", "gradient_ptr"), "*fp32")
    types |= dict.fromkeys(("chunk_ptr", "candidate_ptr", "index_ptr"), "*i64")
    yield Configuration.of(_maxima, types, MAXIMA, WARPS)
    yield Configuration.of(_candidates, types, SELECTED, WARPS)
    for transposed in (False, True):
        for chunked in (False, True):
            constants = {"CHUNKED": chunked, "TURN": transposed, **SELECTED}
            common = chunked and transposed
            yield Configuration.of(_bins, types | {"out_ptr": "*i64"}, constants, WARPS, common=common)
        for count in (4, 5, 8):
            types |= {"masks": ("*fp32",) * count}
            constants, common = {"D": count, "TURN": transposed, **VALUES}, count == 5 and transposed
            yield Configuration.of(_values, types, {"spacing": 1, **constants}, WARPS, common=common)
            yield Configuration.of(_scatter, types, constants, WARPS, common=common)
