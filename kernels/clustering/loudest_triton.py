"""The loudest bins on a GPU: one read of the magnitude, then a search in a fifth of it.

The P loudest of n bins lie in the P chunks of 8 bins whose maxima are the largest: were one in another
chunk, P chunks would each hold a bin that is louder. So `torch.topk` looks at n / 8 maxima and then at
8 P candidates: of 1 % together 0.2 n. Directly it reads all n six times (four digits, two to gather), or
sorts them all where there are 10 items or fewer. 16 x 1025 x 2584 bins are 170 MB, 0.04 ms at
4.3 TB/s: 1.0 GB and 0.24 ms directly, 0.17 GB from memory and 0.2 GB from the cache in this way. Exact,
and nothing is sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration
from torchprim.kernels.layout import by_frames, empty_like, in_one_order

EACH = 8  # bins of a chunk: a sector of memory
MAXIMA = {"CHUNKS": 512, "EACH": EACH}
CHOSEN = {"BLOCK": 1024, "EACH": EACH}
VALUES = {"BLOCK": 256}
WARPS = 4


@triton.jit
def _maxima(x_ptr, out_ptr, bins, chunks, CHUNKS: tl.constexpr, EACH: tl.constexpr):
    """The largest of each chunk."""
    item = tl.program_id(1).to(tl.int64)
    chunk = tl.program_id(0) * CHUNKS + tl.arange(0, CHUNKS)
    place = chunk[:, None] * EACH + tl.arange(0, EACH)[None, :]
    x = tl.load(x_ptr + item * bins + place, mask=place < bins, other=-float("inf")).to(tl.float32)
    tl.store(out_ptr + item * chunks + chunk, tl.max(x, 1), mask=chunk < chunks)


@triton.jit
def _candidates(x_ptr, chunk_ptr, out_ptr, bins, chosen, BLOCK: tl.constexpr, EACH: tl.constexpr):
    """All bins of the chosen chunks."""
    item = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < chosen * EACH
    chunk = tl.load(chunk_ptr + item * chosen + place // EACH, mask=inside, other=0)
    at = chunk * EACH + place % EACH
    x = tl.load(x_ptr + item * bins + at, mask=inside & (at < bins), other=-float("inf"))
    tl.store(out_ptr + item * chosen * EACH + place, x.to(tl.float32), mask=inside)


@triton.jit
def _bins(
    place_ptr, chunk_ptr, out_ptr, count, chosen, rows, columns,
    CHUNKED: tl.constexpr, TURN: tl.constexpr, BLOCK: tl.constexpr, EACH: tl.constexpr,
):  # fmt: skip
    """From places among the candidates to bins, and from the order in memory to that of (F, N)."""
    item = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    at = tl.load(place_ptr + item * count + i, mask=i < count, other=0)
    if CHUNKED:
        chunk = tl.load(chunk_ptr + item * chosen + at // EACH, mask=i < count, other=0)
        at = chunk * EACH + at % EACH
    if TURN:
        at = (at % columns) * rows + at // columns
    tl.store(out_ptr + item * count + i, at, mask=i < count)


@triton.jit
def _place(index_ptr, item, i, count, rows, columns, TURN: tl.constexpr):
    """Where a bin lies in an item's mask of (rows, columns), by frames if it is turned."""
    at = tl.load(index_ptr + item * count + i, mask=i < count, other=0)
    if TURN:
        at = (at % rows) * columns + at // rows
    return item * rows * columns + at


@triton.jit
def _values(
    masks, index_ptr, out_ptr, count, rows, columns, spacing,
    D: tl.constexpr, TURN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    item = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    place = _place(index_ptr, item, i, count, rows, columns, TURN)
    for d in tl.static_range(D):
        x = tl.load(masks[d] + place * spacing, mask=i < count, other=0.0)
        tl.store(out_ptr + (item * count + i) * D + d, x, mask=i < count)


@triton.jit
def _scatter(
    gradient_ptr, index_ptr, masks, count, rows, columns,
    D: tl.constexpr, TURN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """No bin is named twice: every gradient has a place of its own."""
    item = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    place = _place(index_ptr, item, i, count, rows, columns, TURN)
    for d in tl.static_range(D):
        x = tl.load(gradient_ptr + (item * count + i) * D + d, mask=i < count, other=0.0)
        tl.store(masks[d] + place, x, mask=i < count)


def forward(magnitude: Tensor, count: int) -> Tensor:
    """As `loudest.reference`, in another order."""
    turn = by_frames(magnitude)
    x = (magnitude.mT if turn else magnitude).contiguous()
    rows, columns = x.shape[-2:]
    x = x.flatten(-2)
    lead, bins = x.shape[:-1], x.shape[-1]
    x = x.reshape(-1, bins)
    items = len(x)
    result = torch.empty((*lead, count), dtype=torch.int64, device=x.device)
    if not items:
        return result
    chunks = triton.cdiv(bins, EACH)
    chunked = 4 * EACH * count <= bins  # of a larger share nearly all bins would be candidates
    chosen = places = None
    if chunked:
        maxima = torch.empty((items, chunks), dtype=torch.float32, device=x.device)
        grid = (triton.cdiv(chunks, MAXIMA["CHUNKS"]), items)
        _maxima[grid](x, maxima, bins, chunks, **MAXIMA, num_warps=WARPS)
        chosen = maxima.topk(count, sorted=False).indices
        candidates = torch.empty((items, EACH * count), dtype=torch.float32, device=x.device)
        grid = (triton.cdiv(EACH * count, CHOSEN["BLOCK"]), items)
        _candidates[grid](x, chosen, candidates, bins, count, **CHOSEN, num_warps=WARPS)
        places = candidates.topk(count, sorted=False).indices
    else:
        places = x.topk(count, sorted=False).indices
        chosen = places
    grid = (triton.cdiv(count, CHOSEN["BLOCK"]), items)
    arguments = (places, chosen, result, count, count, rows, columns)
    _bins[grid](*arguments, CHUNKED=chunked, TURN=turn, **CHOSEN, num_warps=WARPS)
    return result


def values(masks: Sequence[Tensor], index: Tensor) -> Tensor:
    """Compute `loudest.reference_values` by kernels."""
    masks = list(masks)
    out = masks[0].new_empty((*index.shape, len(masks)))
    if out.numel():
        turn, spacing, turned = in_one_order(masks)
        count = index.shape[-1]
        grid = (triton.cdiv(count, VALUES["BLOCK"]), index.numel() // count)
        sizes = (count, *turned[0].shape[-2:], spacing)
        constants = {"D": len(masks), "TURN": turn, **VALUES}
        _values[grid](turned, index.contiguous(), out, *sizes, **constants, num_warps=WARPS)
    return out


def gradients(gradient: Tensor, masks: Sequence[Tensor], index: Tensor) -> list[Tensor]:
    """Compute `loudest.reference_gradients` by kernels."""
    results = [empty_like(mask).zero_() for mask in masks]
    if gradient.numel():
        # All in the first one's order.
        turn = by_frames(results[0])
        alike = all(by_frames(x) == turn for x in results)
        into = results if alike else [torch.zeros_like(results[0]) for _ in results]
        turned = tuple(x.mT if turn else x for x in into)
        count = index.shape[-1]
        grid = (triton.cdiv(count, VALUES["BLOCK"]), index.numel() // count)
        sizes = (count, *turned[0].shape[-2:])
        constants = {"D": len(results), "TURN": turn, **VALUES}
        _scatter[grid](
            gradient.contiguous(), index.contiguous(), turned, *sizes, **constants, num_warps=WARPS
        )
        if not alike:
            results = [x.copy_(y) for x, y in zip(results, into, strict=True)]
    return results


def configurations() -> Iterator[Configuration]:
    """List all that can be launched, for 4 masks (preset `paper`), 5 (`best`) and 8."""
    names = ("bins", "chunks", "count", "chosen", "rows", "columns", "spacing")
    kinds = dict.fromkeys(names, "i32")
    kinds |= dict.fromkeys(("x_ptr", "out_ptr", "gradient_ptr"), "*fp32")
    kinds |= dict.fromkeys(("chunk_ptr", "place_ptr", "index_ptr"), "*i64")

    def one(kernel, constants, common=True, **others):
        signature = {k: t for k, t in (kinds | others).items() if k in kernel.arg_names}
        signature = {k: t for k, t in signature.items() if k not in constants}
        return Configuration(kernel, signature, constants, WARPS, common=common)

    yield one(_maxima, MAXIMA)
    yield one(_candidates, CHOSEN)
    for turn in (False, True):
        for chunked in (False, True):
            constants = {"CHUNKED": chunked, "TURN": turn, **CHOSEN}
            yield one(_bins, constants, chunked and turn, out_ptr="*i64")
        for count in (4, 5, 8):
            masks, constants = ("*fp32",) * count, {"D": count, "TURN": turn, **VALUES}
            yield one(_values, {"spacing": 1, **constants}, count == 5 and turn, masks=masks)
            yield one(_scatter, constants, count == 5 and turn, masks=masks)
