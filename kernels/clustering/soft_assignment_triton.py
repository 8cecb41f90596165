"""Soft assignment on a GPU: every mask and the spectrum are read once, and nothing between is kept.

Bytes of a bin with D masks: 4 D in, 4 out; with the spectrum 4 D + 8 in, 12 out. 16 x 1025 x 2584 bins
are 42.4 million: with 4 masks 0.20 ms at 4.3 TB/s, with 5 and the spectrum 0.39 ms. Some 50 operations
a bin take 0.08 ms and hide behind the reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration
from torchprim.kernels.layout import by_frames, empty_like, empty_spectrum_like, in_one_order

# Where masks and spectrum lie in one order, a block is a stretch of memory. Where the spectrum lies frame
# by frame and the masks bin by bin, it is a tile, and turning it over costs a pass through shared memory.
SIZES = {"BLOCK": 1024, "SIDE": 32}
# The gradients hold all masks at once: more threads, each with fewer bins.
FORWARD_WARPS, BACKWARD_WARPS = 4, 8


@triton.jit
def _places(rows, columns, CROSSED: tl.constexpr, BLOCK: tl.constexpr, SIDE: tl.constexpr):
    """Which bins a program has: place in the masks, place in the spectrum, whether there is one."""
    if CROSSED:
        item = tl.program_id(2).to(tl.int64) * rows * columns
        r = (tl.program_id(1) * SIDE + tl.arange(0, SIDE))[:, None]
        c = (tl.program_id(0) * SIDE + tl.arange(0, SIDE))[None, :]
        place = item + r.to(tl.int64) * columns + c
        crossed = item + c.to(tl.int64) * rows + r
        inside = (r < rows) & (c < columns)
    else:  # all bins in a row
        place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        crossed = place
        inside = place < columns
    return place, crossed, inside


@triton.jit
def _complex(packed):
    """Real and imaginary part of a complex number that was read as one word of 8 bytes."""
    real = (packed & 0xFFFFFFFF).to(tl.int32).to(tl.float32, bitcast=True)
    return real, (packed >> 32).to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
def _packed(real, imaginary):
    low = real.to(tl.int32, bitcast=True).to(tl.int64) & 0xFFFFFFFF
    return (imaginary.to(tl.int32, bitcast=True).to(tl.int64) << 32) | low


@triton.jit
def _read(masks, weights_ptr, place, inside, spacing, D: tl.constexpr):
    """The masks, and how far they are from 0 and from 1."""
    to_zero = tl.zeros(inside.shape, dtype=tl.float32)
    to_one = tl.zeros(inside.shape, dtype=tl.float32)
    kept = ()
    for d in tl.static_range(D):
        x = tl.load(masks[d] + place * spacing, mask=inside, other=0.0).to(tl.float32)
        w = tl.load(weights_ptr + d).to(tl.float32)
        to_zero += w * x * x
        to_one += w * (1.0 - x) * (1.0 - x)
        kept = kept + (x,)  # noqa: RUF005  (what Triton understands)
    return kept, tl.sqrt(to_zero), tl.sqrt(to_one)


@triton.jit
def _forward(
    masks, weights_ptr, beta_ptr, spectrum_ptr, mask_ptr, vocals_ptr,
    rows, columns, spacing,
    D: tl.constexpr, APPLY: tl.constexpr, CROSSED: tl.constexpr, BLOCK: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    place, crossed, inside = _places(rows, columns, CROSSED, BLOCK, SIDE)
    _, to_zero, to_one = _read(masks, weights_ptr, place, inside, spacing, D)
    mask = tl.sigmoid(tl.load(beta_ptr).to(tl.float32) * (to_zero - to_one))
    if APPLY:
        real, imaginary = _complex(tl.load(spectrum_ptr + crossed, mask=inside, other=0))
        mask = tl.where((real != 0.0) | (imaginary != 0.0), mask, 0.0)
        tl.store(vocals_ptr + crossed, _packed(mask * real, mask * imaginary), mask=inside)
    tl.store(mask_ptr + place, mask, mask=inside)


@triton.jit
def _backward(
    to_mask_ptr, to_vocals_ptr, masks, weights_ptr, beta_ptr, spectrum_ptr,
    of_masks, of_spectrum_ptr, shares_ptr,
    rows, columns, spacing,
    D: tl.constexpr, TO_MASK: tl.constexpr, TO_VOCALS: tl.constexpr, GATED: tl.constexpr,
    OF_MASKS: tl.constexpr, OF_SPECTRUM: tl.constexpr,
    CROSSED: tl.constexpr, BLOCK: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """Each program leaves its share of the weights' and beta's gradients: no atomics."""
    place, crossed, inside = _places(rows, columns, CROSSED, BLOCK, SIDE)
    kept, to_zero, to_one = _read(masks, weights_ptr, place, inside, spacing, D)
    beta = tl.load(beta_ptr).to(tl.float32)
    mask = tl.sigmoid(beta * (to_zero - to_one))
    steepness = tl.where(inside, mask * (1.0 - mask), 0.0)
    slope = tl.zeros(inside.shape, dtype=tl.float32)
    if TO_MASK:
        slope += tl.load(to_mask_ptr + place, mask=inside, other=0.0).to(tl.float32)
    if GATED:
        real, imaginary = _complex(tl.load(spectrum_ptr + crossed, mask=inside, other=0))
        sounding = (real != 0.0) | (imaginary != 0.0)
        steepness = tl.where(sounding, steepness, 0.0)
        if TO_VOCALS:
            to_real, to_imaginary = _complex(tl.load(to_vocals_ptr + crossed, mask=inside, other=0))
            slope += real * to_real + imaginary * to_imaginary
            if OF_SPECTRUM:
                mask = tl.where(sounding, mask, 0.0)
                product = _packed(mask * to_real, mask * to_imaginary)
                tl.store(of_spectrum_ptr + crossed, product, mask=inside)
    slope *= steepness
    # The programs of all three axes in a row.
    program = (tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)).to(tl.int64)
    share_ptr = shares_ptr + (program * tl.num_programs(0) + tl.program_id(0)) * (D + 1)
    tl.store(share_ptr + D, tl.sum(slope * (to_zero - to_one)))
    slope *= beta
    # The derivative of a distance of 0 is 0.
    by_zero = tl.where(to_zero > 0.0, slope / tl.where(to_zero > 0.0, to_zero, 1.0), 0.0)
    by_one = tl.where(to_one > 0.0, slope / tl.where(to_one > 0.0, to_one, 1.0), 0.0)
    for d in tl.static_range(D):
        x = kept[d]
        if OF_MASKS:
            w = tl.load(weights_ptr + d).to(tl.float32)
            tl.store(of_masks[d] + place, w * (x * by_zero + (1.0 - x) * by_one), mask=inside)
        tl.store(share_ptr + d, 0.5 * tl.sum(x * x * by_zero - (1.0 - x) * (1.0 - x) * by_one))


class _Arranged:
    """Masks as they lie, and what else a program must know of the order of everything."""

    def __init__(self, masks: Sequence[Tensor], spectrum: Tensor | None) -> None:
        self.masks_by_frames, step, self.masks = in_one_order(masks)
        self.spectrum_by_frames = spectrum is not None and by_frames(spectrum[..., 0])
        crossed = spectrum is not None and self.masks_by_frames != self.spectrum_by_frames
        rows, columns = 1, masks[0].numel()
        if crossed:
            rows, columns = self.masks[0].shape[-2:]
            items = masks[0].numel() // max(1, rows * columns)
            self.grid = (triton.cdiv(columns, SIZES["SIDE"]), triton.cdiv(rows, SIZES["SIDE"]), items)
        else:
            self.grid = (triton.cdiv(columns, SIZES["BLOCK"]), 1, 1)
        self.sizes = (rows, columns, step)
        self.constants = {"D": len(masks), "CROSSED": crossed, **SIZES}

    def bins(self, x: Tensor) -> Tensor:
        """Of a mask's gradient: in the masks' order."""
        return (x.mT if self.masks_by_frames else x).contiguous()

    def words(self, x: Tensor) -> Tensor:
        """Complex numbers as words of 8 bytes, in the spectrum's order."""
        x = (x.transpose(-2, -3) if self.spectrum_by_frames else x).contiguous()
        return (x.clone() if x.storage_offset() % 2 else x).view(torch.int64)


def forward(
    masks: Sequence[Tensor], weights: Tensor, beta: Tensor, spectrum: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Compute `soft_assignment.reference` by kernels."""
    masks = list(masks)
    mask = empty_like(masks[0])
    vocals = None if spectrum is None else empty_spectrum_like(spectrum)
    if mask.numel():
        placed = _Arranged(masks, spectrum)
        words = [mask if x is None else placed.words(x) for x in (spectrum, vocals)]
        _forward[placed.grid](
            placed.masks, weights.contiguous(), beta, words[0], placed.bins(mask), words[1],
            *placed.sizes, APPLY=spectrum is not None, **placed.constants, num_warps=FORWARD_WARPS,
        )  # fmt: skip
    return mask, vocals


def backward(
    to_mask: Tensor | None,
    to_vocals: Tensor | None,
    masks: Sequence[Tensor],
    weights: Tensor,
    beta: Tensor,
    spectrum: Tensor | None,
    of_masks: bool,
    of_spectrum: bool,
) -> list[Tensor]:
    """Compute `soft_assignment.reference_gradients` by kernels."""
    masks = list(masks)
    count, gated = len(masks), spectrum is not None
    of_spectrum = of_spectrum and gated
    results = [empty_like(masks[0]) for _ in masks] if of_masks else []
    to_give = empty_spectrum_like(spectrum) if of_spectrum else None
    if of_spectrum and to_vocals is None:
        to_give.zero_()
    placed = _Arranged(masks, spectrum)
    shares = torch.empty(math.prod(placed.grid), count + 1, dtype=torch.float32, device=masks[0].device)
    if masks[0].numel():
        unused = masks[0]
        words = [unused if x is None else placed.words(x) for x in (to_vocals, spectrum, to_give)]
        _backward[placed.grid](
            unused if to_mask is None else placed.bins(to_mask), words[0],
            placed.masks, weights.contiguous(), beta, words[1],
            tuple(placed.bins(x) for x in results) or placed.masks, words[2], shares, *placed.sizes,
            TO_MASK=to_mask is not None, TO_VOCALS=to_vocals is not None, GATED=gated,
            OF_MASKS=of_masks, OF_SPECTRUM=of_spectrum, **placed.constants, num_warps=BACKWARD_WARPS,
        )  # fmt: skip
    sums = [shares[:, :count].sum(0).to(weights.dtype), shares[:, count].sum().to(beta.dtype)]
    return [*sums, *results, *([to_give] if of_spectrum else [])]


def configurations() -> Iterator[Configuration]:
    """List all that can be launched, for 4 masks (preset `paper`), 5 (`best`), 8, and 20 of an embedding."""
    sizes = {"rows": "i32", "columns": "i32", "spacing": "i32"}
    single = dict.fromkeys(("weights_ptr", "beta_ptr", "mask_ptr", "to_mask_ptr", "shares_ptr"), "*fp32")
    double = dict.fromkeys(("spectrum_ptr", "vocals_ptr", "to_vocals_ptr", "of_spectrum_ptr"), "*i64")
    for count in (4, 5, 8, 20):
        many = dict.fromkeys(("masks", "of_masks"), ("*fp32",) * count)
        signature = sizes | single | double | many
        dense = {"D": count} if count == 20 else {"D": count, "spacing": 1}
        for apply in (False, True) if count < 20 else (False,):
            for crossed in (False, True) if apply else (False,):
                common = count == 5 and crossed  # it holds all of the others
                constants = {**dense, "APPLY": apply, "CROSSED": crossed, **SIZES}
                yield _configuration(_forward, signature, constants, FORWARD_WARPS, common)
                given = {"TO_MASK": True, "TO_VOCALS": apply, "GATED": apply, "OF_MASKS": True}
                constants = {**dense, **given, "OF_SPECTRUM": apply, "CROSSED": crossed, **SIZES}
                yield _configuration(_backward, signature, constants, BACKWARD_WARPS, common)


def _configuration(kernel, signature, constants, warps, common) -> Configuration:
    known = {x: t for x, t in signature.items() if x in kernel.arg_names and x not in constants}
    return Configuration(kernel, known, constants, warps, common=common)
