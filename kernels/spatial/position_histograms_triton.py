"""Histograms of position on a GPU: each bin is read once, and counted at every point of the grid.

A program sums a part of a band, for all points side by side in registers: a bin adds its hat, mostly 0, to
each. Partial sums are added in a fixed order, so that two runs are equal. 12 bytes of a bin: 16 x 1025 x
2584 bins are 0.51 GB, 0.12 ms at an H200's 4.3 TB/s; their 80 operations take as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration
from torchprim.kernels.spatial.position_histograms import first_points
from torchprim.kernels.spatial.side_to_mid import POINTS
from torchprim.kernels.tables import constant_table

PART = 16384  # bins of a program, of those of an item
SUMS, SUMS_WARPS = {"POINTS": POINTS, "BLOCK": 256}, 4
EACH, EACH_WARPS = {"POINTS": POINTS, "BLOCK": 1024}, 4


@triton.jit
def _partial_sums(
    position_ptr, weight_ptr, mask_ptr, edges_ptr, out_ptr, bins, frames, bands, parts,
    MASKED: tl.constexpr, POINTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    band = program % bands
    part = program // bands % parts
    item = (program // bands // parts).to(tl.int64)
    position_ptr += item * bins * frames
    weight_ptr += item * bins * frames
    mask_ptr += item * bins * frames
    start = tl.load(edges_ptr + band) * frames
    stop = tl.load(edges_ptr + band + 1) * frames
    length = tl.cdiv(stop - start, parts)
    first = start + part * length
    last = tl.minimum(first + length, stop)
    point = tl.arange(0, POINTS)[:, None]
    vocals = tl.zeros((POINTS, BLOCK), dtype=tl.float32)
    rest = tl.zeros((POINTS, BLOCK), dtype=tl.float32)
    for block in range(first, last, BLOCK):
        i = block + tl.arange(0, BLOCK)
        inside = i < last
        position = tl.load(position_ptr + i, mask=inside, other=0.0).to(tl.float32)
        weight = tl.load(weight_ptr + i, mask=inside, other=0.0).to(tl.float32)
        hat = tl.maximum(1.0 - tl.abs(position[None, :] - point), 0.0)
        if MASKED:
            mask = tl.load(mask_ptr + i, mask=inside, other=0.0).to(tl.float32)
            vocals += hat * (weight * mask)[None, :]
            rest += hat * (weight * (1.0 - mask))[None, :]
        else:
            vocals += hat * weight[None, :]
    count = 2 if MASKED else 1
    out_ptr += ((item * parts + part) * count * bands + band) * POINTS + tl.arange(0, POINTS)
    tl.store(out_ptr, tl.sum(vocals, 1))
    if MASKED:
        tl.store(out_ptr + bands * POINTS, tl.sum(rest, 1))


@triton.jit
def place(bins, frames, BLOCK: tl.constexpr):
    """Return a program's item, its offsets into the item, and which of them exist."""
    blocks = tl.cdiv(bins * frames, BLOCK)
    item = (tl.program_id(0) // blocks).to(tl.int64)
    i = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    return item, i, i < bins * frames


@triton.jit
def interpolated(
    table_ptr, first_ptr, position_ptr, item, i, inside, frames, bands, bins, POINTS: tl.constexpr
):  # fmt: skip
    """Interpolate the table of a bin's band at its position."""
    position = tl.load(position_ptr + item * bins * frames + i, mask=inside, other=0.0).to(tl.float32)
    lower = tl.minimum(position.to(tl.int32), POINTS - 2)
    first = tl.load(first_ptr + i // frames, mask=inside, other=0)
    table_ptr += item * bands * POINTS + first + lower
    below = tl.load(table_ptr, mask=inside, other=0.0).to(tl.float32)
    above = tl.load(table_ptr + 1, mask=inside, other=0.0).to(tl.float32)
    return below + (position - lower) * (above - below)


@triton.jit
def _backward(
    table_ptr, first_ptr, position_ptr, weight_ptr, out_ptr, bins, frames, bands,
    POINTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    item, i, inside = place(bins, frames, BLOCK)
    value = interpolated(table_ptr, first_ptr, position_ptr, item, i, inside, frames, bands, bins, POINTS)
    offset = item * bins * frames + i
    weight = tl.load(weight_ptr + offset, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_ptr + offset, weight * value, mask=inside)


@constant_table
def _edge_table(edges: Sequence[int], device: torch.device) -> list[Tensor]:
    return [torch.tensor(edges, dtype=torch.int32).to(device)]


def each(position: Tensor) -> tuple[int]:
    """Return the number of programs that take each bin once."""
    bins, frames = position.shape[-2:]
    return (position[..., 0, 0].numel() * triton.cdiv(bins * frames, EACH["BLOCK"]),)


def forward(position: Tensor, weight: Tensor, mask: Tensor | None, edges: Sequence[int]) -> Tensor:
    """Compute `position_histograms.reference` by kernels."""
    position, weight = position.contiguous(), weight.contiguous()
    bins, frames = position.shape[-2:]
    bands, parts, count = len(edges) - 1, triton.cdiv(bins * frames, PART), 1 if mask is None else 2
    batch = position.shape[:-2]
    out = torch.empty(*batch, parts, count, bands, POINTS, dtype=torch.float32, device=position.device)
    if out.numel():
        (table,) = _edge_table(tuple(edges), position.device)
        tensors = (position, weight, weight if mask is None else mask.contiguous(), table, out)
        launch = _partial_sums[(batch.numel() * parts * bands,)]
        sizes = (bins, frames, bands, parts)
        launch(*tensors, *sizes, MASKED=mask is not None, **SUMS, num_warps=SUMS_WARPS)
    return out.sum(-4).to(position.dtype)


def backward(
    gradient: Tensor, position: Tensor, weight: Tensor, mask: Tensor, edges: Sequence[int]
) -> Tensor:
    """Compute `position_histograms.reference_gradient` by kernels."""
    out = torch.empty(position.shape, dtype=position.dtype, device=position.device)
    if out.numel():
        vocals, rest = gradient.unbind(-3)
        (first,) = first_points(tuple(edges), position.device)
        tensors = ((vocals - rest).contiguous(), first, position.contiguous(), weight.contiguous(), out)
        sizes = (*position.shape[-2:], len(edges) - 1)
        _backward[each(position)](*tensors, *sizes, **EACH, num_warps=EACH_WARPS)
    return out


def configurations() -> Iterator[Configuration]:
    """List the launches: histograms of vocals and the rest, those of one value, and the gradient."""
    names = ("position_ptr", "weight_ptr", "mask_ptr", "out_ptr", "table_ptr")
    types = dict.fromkeys((*_partial_sums.arg_names, *_backward.arg_names), "i32")
    types |= dict.fromkeys(names, "*fp32") | {"edges_ptr": "*i32", "first_ptr": "*i32"}
    for masked in (True, False):
        yield Configuration.of(_partial_sums, types, {"MASKED": masked, **SUMS}, SUMS_WARPS, common=masked)
    yield Configuration.of(_backward, types, EACH, EACH_WARPS)
