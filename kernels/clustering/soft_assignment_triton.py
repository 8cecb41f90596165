"""Soft assignment on a GPU: masks and spectrum are read once, no intermediate result is stored.

Bytes of a bin with D masks: 4 D in, 4 out; with the spectrum 4 D + 8 in, 12 out. 16 x 1025 x 2584 bins
are 42.4 million: with 4 masks 0.20 ms at 4.3 TB/s, with 5 and the spectrum 0.39 ms. Some 50 operations
a bin take 0.08 ms and hide behind the reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.clustering.soft_assignment import bins_innermost, empty_spectrum
from torchprim.kernels.launch import Configuration

# (ROWS, COLUMNS) of a tile. Masks are contiguous. A spectrum that is, too, needs no tiles: one row holds all.
# One with bins innermost is crossed: masks are read in runs of 64 bytes, it in runs of 512.
FLAT, CROSSED = (1, 1024), (64, 16)
# The gradients hold all masks at once: more threads, each with fewer bins.
FORWARD_WARPS, BACKWARD_WARPS = 4, 8


@triton.jit
def _tile(rows, columns, row_step, column_step, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return a program's offset in the masks, that in the spectrum, and which of its bins exist.

    Each offset is that of the tile, in 64 bits, and those of its bins from there, in 32. All tiles of all
    items lie on one axis of the grid: the others end at 65,535.
    """
    across = tl.cdiv(columns, COLUMNS)
    down = tl.cdiv(rows, ROWS)
    tile = tl.program_id(0)
    item = (tile // across // down).to(tl.int64) * rows * columns
    first_r = (tile // across % down).to(tl.int64) * ROWS
    first_c = (tile % across).to(tl.int64) * COLUMNS
    r = tl.arange(0, ROWS)[:, None]
    c = tl.arange(0, COLUMNS)[None, :]
    inside = (r < rows - first_r) & (c < columns - first_c)
    first = item + first_r * columns + first_c
    crossed = item + first_r * row_step + first_c * column_step
    return first, r * columns + c, crossed, r * row_step + c * column_step, inside


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
def _load(masks, weights_ptr, first, offset, inside, D: tl.constexpr):
    """Load the masks; return them and their distances to 0 and to 1."""
    to_zero = tl.zeros(inside.shape, dtype=tl.float32)
    to_one = tl.zeros(inside.shape, dtype=tl.float32)
    values = ()
    for d in tl.static_range(D):
        x = tl.load(masks[d] + first + offset, mask=inside, other=0.0).to(tl.float32)
        w = tl.load(weights_ptr + d).to(tl.float32)
        to_zero += w * x * x
        to_one += w * (1.0 - x) * (1.0 - x)
        values = values + (x,)  # noqa: RUF005  (what Triton compiles)
    return values, tl.sqrt(to_zero), tl.sqrt(to_one)


@triton.jit
def _forward(
    masks, weights_ptr, beta_ptr, spectrum_ptr, mask_ptr, vocals_ptr,
    rows, columns, row_step, column_step,
    D: tl.constexpr, APPLY: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    first, offset, crossed, word, inside = _tile(rows, columns, row_step, column_step, ROWS, COLUMNS)
    spectrum_ptr += crossed
    vocals_ptr += crossed
    _, to_zero, to_one = _load(masks, weights_ptr, first, offset, inside, D)
    mask = tl.sigmoid(tl.load(beta_ptr).to(tl.float32) * (to_zero - to_one))
    if APPLY:
        real, imaginary = _complex(tl.load(spectrum_ptr + word, mask=inside, other=0))
        mask = tl.where((real != 0.0) | (imaginary != 0.0), mask, 0.0)
        tl.store(vocals_ptr + word, _packed(mask * real, mask * imaginary), mask=inside)
    tl.store(mask_ptr + first + offset, mask, mask=inside)


@triton.jit
def _backward(
    to_mask_ptr, to_vocals_ptr, masks, weights_ptr, beta_ptr, spectrum_ptr,
    of_masks, of_spectrum_ptr, partials_ptr,
    rows, columns, row_step, column_step,
    D: tl.constexpr, TO_MASK: tl.constexpr, TO_VOCALS: tl.constexpr, GATED: tl.constexpr,
    OF_MASKS: tl.constexpr, OF_SPECTRUM: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Compute all gradients; those of weights and beta as partial sums of each program: no atomics."""
    first, offset, crossed, word, inside = _tile(rows, columns, row_step, column_step, ROWS, COLUMNS)
    spectrum_ptr += crossed
    to_vocals_ptr += crossed
    of_spectrum_ptr += crossed
    values, to_zero, to_one = _load(masks, weights_ptr, first, offset, inside, D)
    beta = tl.load(beta_ptr).to(tl.float32)
    mask = tl.sigmoid(beta * (to_zero - to_one))
    steepness = tl.where(inside, mask * (1.0 - mask), 0.0)
    slope = tl.zeros(inside.shape, dtype=tl.float32)
    if TO_MASK:
        slope += tl.load(to_mask_ptr + first + offset, mask=inside, other=0.0).to(tl.float32)
    if GATED:
        real, imaginary = _complex(tl.load(spectrum_ptr + word, mask=inside, other=0))
        sounding = (real != 0.0) | (imaginary != 0.0)
        steepness = tl.where(sounding, steepness, 0.0)
        if TO_VOCALS:
            to_real, to_imaginary = _complex(tl.load(to_vocals_ptr + word, mask=inside, other=0))
            slope += real * to_real + imaginary * to_imaginary
            if OF_SPECTRUM:
                mask = tl.where(sounding, mask, 0.0)
                product = _packed(mask * to_real, mask * to_imaginary)
                tl.store(of_spectrum_ptr + word, product, mask=inside)
    slope *= steepness
    partials_ptr += tl.program_id(0).to(tl.int64) * (D + 1)
    tl.store(partials_ptr + D, tl.sum(slope * (to_zero - to_one)))
    slope *= beta
    # The derivative of a distance of 0 is 0.
    by_zero = tl.where(to_zero > 0.0, slope / tl.where(to_zero > 0.0, to_zero, 1.0), 0.0)
    by_one = tl.where(to_one > 0.0, slope / tl.where(to_one > 0.0, to_one, 1.0), 0.0)
    for d in tl.static_range(D):
        x = values[d]
        if OF_MASKS:
            w = tl.load(weights_ptr + d).to(tl.float32)
            tl.store(of_masks[d] + first + offset, w * (x * by_zero + (1.0 - x) * by_one), mask=inside)
        tl.store(partials_ptr + d, 0.5 * tl.sum(x * x * by_zero - (1.0 - x) * (1.0 - x) * by_one))


class _Launch:
    """Grid, sizes and constants of a launch over contiguous masks and a spectrum."""

    def __init__(self, masks: Sequence[Tensor], spectrum: Tensor | None) -> None:
        self.masks = tuple(mask.contiguous() for mask in masks)
        self.crossed = spectrum is not None and bins_innermost(spectrum)
        count = masks[0].numel()
        rows, columns = masks[0].shape[-2:] if self.crossed else (1, count)
        tile = CROSSED if self.crossed else FLAT
        tiles = triton.cdiv(rows, tile[0]) * triton.cdiv(columns, tile[1])
        self.programs = tiles * (count // max(1, rows * columns))
        self.sizes = (rows, columns, *((1, rows) if self.crossed else (columns, 1)))
        self.constants = {"D": len(masks), "ROWS": tile[0], "COLUMNS": tile[1]}

    def words(self, x: Tensor) -> Tensor:
        """Return complex numbers as words of 8 bytes, dense and in the order of the spectrum."""
        x = (x.transpose(-2, -3) if self.crossed else x).contiguous()
        return (x.clone() if x.storage_offset() % 2 else x).view(torch.int64)


def _assign(
    masks: Sequence[Tensor], weights: Tensor, beta: Tensor, spectrum: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    mask = masks[0].new_empty(masks[0].shape)
    vocals = None if spectrum is None else empty_spectrum(spectrum)
    if mask.numel():
        launch = _Launch(masks, spectrum)
        words = [mask if x is None else launch.words(x) for x in (spectrum, vocals)]
        _forward[(launch.programs,)](
            launch.masks, weights.contiguous(), beta, words[0], mask, words[1],
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
    d_masks = [mask.new_empty(mask.shape) for mask in masks] if of_masks else []
    d_spectrum = empty_spectrum(spectrum) if of_spectrum else None
    if of_spectrum and to_vocals is None:
        d_spectrum.zero_()
    launch = _Launch(masks, spectrum)
    partials = torch.empty(launch.programs, count + 1, dtype=torch.float32, device=masks[0].device)
    if masks[0].numel():
        unused = masks[0]
        words = [unused if x is None else launch.words(x) for x in (to_vocals, spectrum, d_spectrum)]
        _backward[(launch.programs,)](
            unused if to_mask is None else to_mask.contiguous(), words[0],
            launch.masks, weights.contiguous(), beta, words[1],
            tuple(d_masks) or launch.masks, words[2], partials, *launch.sizes,
            TO_MASK=to_mask is not None, TO_VOCALS=to_vocals is not None, GATED=gated,
            OF_MASKS=of_masks, OF_SPECTRUM=of_spectrum, **launch.constants, num_warps=BACKWARD_WARPS,
        )  # fmt: skip
    sums = [partials[:, :count].sum(0).to(weights.dtype), partials[:, count].sum().to(beta.dtype)]
    return [*sums, *d_masks, *([d_spectrum] if of_spectrum else [])]


def configurations() -> Iterator[Configuration]:
    """List all launches, for 4 masks (preset `paper`), 5 (`best`), 8, and 20 of an embedding."""
    types = dict.fromkeys(("rows", "columns", "row_step", "column_step"), "i32")
    types |= dict.fromkeys(("weights_ptr", "beta_ptr", "mask_ptr", "to_mask_ptr", "partials_ptr"), "*fp32")
    types |= dict.fromkeys(("spectrum_ptr", "vocals_ptr", "to_vocals_ptr", "of_spectrum_ptr"), "*i64")
    flat = {"rows": 1, "column_step": 1, "ROWS": FLAT[0], "COLUMNS": FLAT[1]}
    crossed = {"row_step": 1, "ROWS": CROSSED[0], "COLUMNS": CROSSED[1]}
    launches = [(False, flat), (True, flat), (True, crossed)]
    for count in (4, 5, 8, 20):
        types |= dict.fromkeys(("masks", "of_masks"), ("*fp32",) * count)
        for apply, sizes in launches if count < 20 else launches[:1]:
            common = count == 5 and sizes is crossed  # it holds all of the others
            constants = {"D": count, "APPLY": apply, **sizes}
            yield Configuration.of(_forward, types, constants, FORWARD_WARPS, common=common)
            flags = {"TO_MASK": True, "TO_VOCALS": apply, "GATED": apply, "OF_MASKS": True}
            constants = {"D": count, **flags, "OF_SPECTRUM": apply, **sizes}
            yield Configuration.of(_backward, types, constants, BACKWARD_WARPS, common=common)
