"""Soft assignment on a GPU: masks and spectrum are read once, no intermediate result is stored.

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
from torchprim.kernels.layout import by_frames, empty_like, empty_spectrum_like, in_one_layout

# Where masks and spectrum have one layout, a block is contiguous. Where one of them has bins innermost and
# the other frames, it is a tile, and its transpose costs a pass through shared memory.
SIZES = {"BLOCK": 1024, "SIDE": 32}
# The gradients hold all masks at once: more threads, each with fewer bins.
FORWARD_WARPS, BACKWARD_WARPS = 4, 8


@triton.jit
def _offsets(rows, columns, CROSSED: tl.constexpr, BLOCK: tl.constexpr, SIDE: tl.constexpr):
    """Return the offsets of a program's bins in the masks and in the spectrum, and which of them exist."""
    if CROSSED:
        item = tl.program_id(2).to(tl.int64) * rows * columns
        r = (tl.program_id(1) * SIDE + tl.arange(0, SIDE))[:, None]
        c = (tl.program_id(0) * SIDE + tl.arange(0, SIDE))[None, :]
        offset = item + r.to(tl.int64) * columns + c
        crossed = item + c.to(tl.int64) * rows + r
        inside = (r < rows) & (c < columns)
    else:  # one row
        offset = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        crossed = offset
        inside = offset < columns
    return offset, crossed, inside


@triton.jit
def _complex(packed):
    """Unpack a complex number, loaded as one word of 8 bytes, into real and imaginary part."""
    real = (packed & 0xFFFFFFFF).to(tl.int32).to(tl.float32, bitcast=True)
    return real, (packed >> 32).to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
def _packed(real, imaginary):
    """Pack real and imaginary part into one word of 8 bytes."""
    low = real.to(tl.int32, bitcast=True).to(tl.int64) & 0xFFFFFFFF
    return (imaginary.to(tl.int32, bitcast=True).to(tl.int64) << 32) | low


@triton.jit
def _load(masks, weights_ptr, offset, inside, spacing, D: tl.constexpr):
    """Load the masks; return them and their distances to 0 and to 1."""
    to_zero = tl.zeros(inside.shape, dtype=tl.float32)
    to_one = tl.zeros(inside.shape, dtype=tl.float32)
    values = ()
    for d in tl.static_range(D):
        x = tl.load(masks[d] + offset * spacing, mask=inside, other=0.0).to(tl.float32)
        w = tl.load(weights_ptr + d).to(tl.float32)
        to_zero += w * x * x
        to_one += w * (1.0 - x) * (1.0 - x)
        values = values + (x,)  # noqa: RUF005  (what Triton compiles)
    return values, tl.sqrt(to_zero), tl.sqrt(to_one)


@triton.jit
def _forward(
    masks, weights_ptr, beta_ptr, spectrum_ptr, mask_ptr, vocals_ptr,
    rows, columns, spacing,
    D: tl.constexpr, APPLY: tl.constexpr, CROSSED: tl.constexpr, BLOCK: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    offset, crossed, inside = _offsets(rows, columns, CROSSED, BLOCK, SIDE)
    _, to_zero, to_one = _load(masks, weights_ptr, offset, inside, spacing, D)
    mask = tl.sigmoid(tl.load(beta_ptr).to(tl.float32) * (to_zero - to_one))
    if APPLY:
        real, imaginary = _complex(tl.load(spectrum_ptr + crossed, mask=inside, other=0))
        mask = tl.where((real != 0.0) | (imaginary != 0.0), mask, 0.0)
        tl.store(vocals_ptr + crossed, _packed(mask * real, mask * imaginary), mask=inside)
    tl.store(mask_ptr + offset, mask, mask=inside)


@triton.jit
def _backward(
    to_mask_ptr, to_vocals_ptr, masks, weights_ptr, beta_ptr, spectrum_ptr,
    of_masks, of_spectrum_ptr, partials_ptr,
    rows, columns, spacing,
    D: tl.constexpr, TO_MASK: tl.constexpr, TO_VOCALS: tl.constexpr, GATED: tl.constexpr,
    OF_MASKS: tl.constexpr, OF_SPECTRUM: tl.constexpr,
    CROSSED: tl.constexpr, BLOCK: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """Compute all gradients; those of weights and beta as partial sums of each program: no atomics."""
    offset, crossed, inside = _offsets(rows, columns, CROSSED, BLOCK, SIDE)
    values, to_zero, to_one = _load(masks, weights_ptr, offset, inside, spacing, D)
    beta = tl.load(beta_ptr).to(tl.float32)
    mask = tl.sigmoid(beta * (to_zero - to_one))
    steepness = tl.where(inside, mask * (1.0 - mask), 0.0)
    slope = tl.zeros(inside.shape, dtype=tl.float32)
    if TO_MASK:
        slope += tl.load(to_mask_ptr + offset, mask=inside, other=0.0).to(tl.float32)
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
    # Linear index of the program.
    program = (tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)).to(tl.int64)
    partial_ptr = partials_ptr + (program * tl.num_programs(0) + tl.program_id(0)) * (D + 1)
    tl.store(partial_ptr + D, tl.sum(slope * (to_zero - to_one)))
    slope *= beta
    # The derivative of a distance of 0 is 0.
    by_zero = tl.where(to_zero > 0.0, slope / tl.where(to_zero > 0.0, to_zero, 1.0), 0.0)
    by_one = tl.where(to_one > 0.0, slope / tl.where(to_one > 0.0, to_one, 1.0), 0.0)
    for d in tl.static_range(D):
        x = values[d]
        if OF_MASKS:
            w = tl.load(weights_ptr + d).to(tl.float32)
            tl.store(of_masks[d] + offset, w * (x * by_zero + (1.0 - x) * by_one), mask=inside)
        tl.store(partial_ptr + d, 0.5 * tl.sum(x * x * by_zero - (1.0 - x) * (1.0 - x) * by_one))


class _Launch:
    """Masks in their layout; grid, sizes and constants of a launch over them and a spectrum."""

    def __init__(self, masks: Sequence[Tensor], spectrum: Tensor | None) -> None:
        self.masks_by_frames, step, self.masks = in_one_layout(masks)
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
        """Return a tensor `(..., F, N)` contiguous in the layout of the masks."""
        return (x.mT if self.masks_by_frames else x).contiguous()

    def words(self, x: Tensor) -> Tensor:
        """Return complex numbers as words of 8 bytes, contiguous in the layout of the spectrum."""
        x = (x.transpose(-2, -3) if self.spectrum_by_frames else x).contiguous()
        return (x.clone() if x.storage_offset() % 2 else x).view(torch.int64)


def _assign(
    masks: Sequence[Tensor], weights: Tensor, beta: Tensor, spectrum: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    mask = empty_like(masks[0])
    vocals = None if spectrum is None else empty_spectrum_like(spectrum)
    if mask.numel():
        launch = _Launch(masks, spectrum)
        words = [mask if x is None else launch.words(x) for x in (spectrum, vocals)]
        _forward[launch.grid](
            launch.masks, weights.contiguous(), beta, words[0], launch.bins(mask), words[1],
            *launch.sizes, APPLY=spectrum is not None, **launch.constants, num_warps=FORWARD_WARPS,
        )  # fmt: skip
    return mask, vocals


def forward(masks: Sequence[Tensor], weights: Tensor, beta: Tensor) -> Tensor:
    """Compute `soft_assignment.reference` by kernels."""
    return _assign(masks, weights, beta, None)[0]


def forward_applied(
    masks: Sequence[Tensor], weights: Tensor, beta: Tensor, spectrum: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute `soft_assignment.reference_applied` by kernels."""
    return _assign(masks, weights, beta, spectrum)


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
    count, gated = len(masks), spectrum is not None
    of_spectrum = of_spectrum and gated
    d_masks = [empty_like(masks[0]) for _ in masks] if of_masks else []
    d_spectrum = empty_spectrum_like(spectrum) if of_spectrum else None
    if of_spectrum and to_vocals is None:
        d_spectrum.zero_()
    launch = _Launch(masks, spectrum)
    partials = torch.empty(math.prod(launch.grid), count + 1, dtype=torch.float32, device=masks[0].device)
    if masks[0].numel():
        unused = masks[0]
        words = [unused if x is None else launch.words(x) for x in (to_vocals, spectrum, d_spectrum)]
        _backward[launch.grid](
            unused if to_mask is None else launch.bins(to_mask), words[0],
            launch.masks, weights.contiguous(), beta, words[1],
            tuple(launch.bins(x) for x in d_masks) or launch.masks, words[2], partials, *launch.sizes,
            TO_MASK=to_mask is not None, TO_VOCALS=to_vocals is not None, GATED=gated,
            OF_MASKS=of_masks, OF_SPECTRUM=of_spectrum, **launch.constants, num_warps=BACKWARD_WARPS,
        )  # fmt: skip
    sums = [partials[:, :count].sum(0).to(weights.dtype), partials[:, count].sum().to(beta.dtype)]
    return [*sums, *d_masks, *([d_spectrum] if of_spectrum else [])]


def configurations() -> Iterator[Configuration]:
    """List all launches, for 4 masks (preset `paper`), 5 (`best`), 8, and 20 of an embedding."""
    types = dict.fromkeys(("rows", "columns", "spacing"), "i32")
    types |= dict.fromkeys(("weights_ptr", "beta_ptr", "mask_ptr", "to_mask_ptr", "partials_ptr"), "*fp32")
    types |= dict.fromkeys(("spectrum_ptr", "vocals_ptr", "to_vocals_ptr", "of_spectrum_ptr"), "*i64")
    for count in (4, 5, 8, 20):
        types |= dict.fromkeys(("masks", "of_masks"), ("*fp32",) * count)
        dense = {"D": count} if count == 20 else {"D": count, "spacing": 1}
        for apply in (False, True) if count < 20 else (False,):
            for crossed in (False, True) if apply else (False,):
                common = count == 5 and crossed  # it holds all of the others
                constants = {**dense, "APPLY": apply, "CROSSED": crossed, **SIZES}
                yield Configuration.of(_forward, types, constants, FORWARD_WARPS, common=common)
                flags = {"TO_MASK": True, "TO_VOCALS": apply, "GATED": apply, "OF_MASKS": True}
                constants = {**dense, **flags, "OF_SPECTRUM": apply, "CROSSED": crossed, **SIZES}
                yield Configuration.of(_backward, types, constants, BACKWARD_WARPS, common=common)
