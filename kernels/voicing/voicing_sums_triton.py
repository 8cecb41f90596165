"""Sums for a voicing score on a GPU: magnitude and weight are read once.

For 16 x 373 x 2,584: twice 62 MB, 0.03 ms at 4.3 TB/s; comb and teeth come from tables of 0.7 MB that stay
in L2, at columns that neighbouring frames nearly share. In single operations it is some twenty passes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration
from torchprim.kernels.layout import planes
from torchprim.kernels.scale import scale_gradient
from torchprim.kernels.voicing.columns import add_columns

FORWARD = {"BLOCK_F": 16, "BLOCK_N": 32}
BACKWARD = {"BLOCK_F": 8, "BLOCK_N": 128}
WARPS = 4


@triton.jit
def _load(ptr, row, k, n, bins, frames):
    """Load a tile, 0 outside."""
    inside = (k < bins)[:, None] & (n < frames)[None, :]
    return tl.load(ptr + k[:, None] * row + n[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _column(path_ptr, item, n, frames, NAMED: tl.constexpr):
    """Return the column of comb and teeth for each frame."""
    if NAMED:
        return tl.load(path_ptr + item * frames + n, mask=n < frames, other=0).to(tl.int32)
    else:
        return n


@triton.jit
def _forward(
    magnitude_ptr, weight_ptr, comb_ptr, teeth_ptr, path_ptr, loudness_ptr, gain_ptr, scale_ptr, out_ptr,
    magnitude_item, magnitude_row, weight_item, weight_row, comb_item, comb_row, teeth_item, teeth_row,
    bins, frames,
    WEIGHTED: tl.constexpr, NAMED: tl.constexpr, BLOCK_F: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    item = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    scale = tl.load(scale_ptr + item)
    magnitude_ptr += item * magnitude_item
    weight_ptr += item * weight_item
    comb_ptr += item * comb_item
    teeth_ptr += item * teeth_item
    column = _column(path_ptr, item, n, frames, NAMED)
    on = tl.zeros((BLOCK_F, BLOCK_N), dtype=tl.float32)
    between = tl.zeros((BLOCK_F, BLOCK_N), dtype=tl.float32)
    whole = tl.zeros((BLOCK_F, BLOCK_N), dtype=tl.float32)
    under = tl.zeros((BLOCK_F, BLOCK_N), dtype=tl.float32)
    sung = tl.zeros((BLOCK_F, BLOCK_N), dtype=tl.float32)
    for first in range(0, bins, BLOCK_F):
        k = first + tl.arange(0, BLOCK_F)
        inside = (k < bins)[:, None] & (n < frames)[None, :]
        magnitude = _load(magnitude_ptr, magnitude_row, k, n, bins, frames)
        teeth = tl.load(teeth_ptr + k[:, None] * teeth_row + column[None, :], mask=inside, other=0.0)
        heard = magnitude * (scale * tl.load(loudness_ptr + k, mask=k < bins, other=0.0))[:, None]
        on += tl.maximum(teeth, 0.0) * heard
        between += tl.maximum(-teeth, 0.0) * heard
        power = magnitude * (scale * tl.load(gain_ptr + k, mask=k < bins, other=0.0))[:, None]
        power *= power
        whole += power
        power *= tl.load(comb_ptr + k[:, None] * comb_row + column[None, :], mask=inside, other=0.0)
        under += power
        if WEIGHTED:
            sung += power * _load(weight_ptr, weight_row, k, n, bins, frames)
    out_ptr += item * 5 * frames + n
    tl.store(out_ptr, tl.sum(between, 0), mask=n < frames)
    tl.store(out_ptr + frames, tl.sum(under, 0), mask=n < frames)
    tl.store(out_ptr + 2 * frames, tl.sum(on, 0), mask=n < frames)
    tl.store(out_ptr + 3 * frames, tl.sum(whole, 0), mask=n < frames)
    tl.store(out_ptr + 4 * frames, tl.sum(sung if WEIGHTED else under, 0), mask=n < frames)


@triton.jit
def _backward(
    gradient_ptr, magnitude_ptr, weight_ptr, comb_ptr, teeth_ptr, path_ptr, loudness_ptr, gain_ptr, scale_ptr,
    d_magnitude_ptr, d_weight_ptr, d_comb_ptr, d_teeth_ptr,
    magnitude_item, magnitude_row, weight_item, weight_row, comb_item, comb_row, teeth_item, teeth_row,
    bins, frames,
    WEIGHTED: tl.constexpr, NAMED: tl.constexpr, TO_COMB: tl.constexpr,
    BLOCK_F: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    item = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.program_id(2) * BLOCK_F + tl.arange(0, BLOCK_F)
    inside = (k < bins)[:, None] & (n < frames)[None, :]
    offset = item * bins * frames + k[:, None] * frames + n[None, :]
    gradient_ptr += item * 5 * frames + n
    between = tl.load(gradient_ptr, mask=n < frames, other=0.0)[None, :]
    under = tl.load(gradient_ptr + frames, mask=n < frames, other=0.0)[None, :]
    on = tl.load(gradient_ptr + 2 * frames, mask=n < frames, other=0.0)[None, :]
    whole = tl.load(gradient_ptr + 3 * frames, mask=n < frames, other=0.0)[None, :]
    sung = tl.load(gradient_ptr + 4 * frames, mask=n < frames, other=0.0)[None, :]

    column = _column(path_ptr, item, n, frames, NAMED)
    teeth_ptr += item * teeth_item + k[:, None] * teeth_row + column[None, :]
    teeth = tl.load(teeth_ptr, mask=inside, other=0.0)
    scale = tl.load(scale_ptr + item)
    loudness = scale * tl.load(loudness_ptr + k, mask=k < bins, other=0.0)[:, None]
    gain = scale * tl.load(gain_ptr + k, mask=k < bins, other=0.0)[:, None]
    magnitude = _load(magnitude_ptr + item * magnitude_item, magnitude_row, k, n, bins, frames)
    comb_ptr += item * comb_item + k[:, None] * comb_row + column[None, :]
    comb = tl.load(comb_ptr, mask=inside, other=0.0)
    scaled = magnitude * gain * gain
    to_comb = under + sung
    if WEIGHTED:
        weight = _load(weight_ptr + item * weight_item, weight_row, k, n, bins, frames)
        to_comb = under + sung * weight
        tl.store(d_weight_ptr + offset, comb * scaled * magnitude * sung, mask=inside)
    d_heard = on * tl.maximum(teeth, 0.0) + between * tl.maximum(-teeth, 0.0)
    d_magnitude_ptr += offset
    tl.store(d_magnitude_ptr, d_heard * loudness + 2 * scaled * (whole + comb * to_comb), mask=inside)
    if TO_COMB:
        tl.store(d_comb_ptr + offset, scaled * magnitude * to_comb, mask=inside)
    if not NAMED:
        slope = tl.where(teeth >= 0, on, 0.0) - tl.where(teeth <= 0, between, 0.0)
        tl.store(d_teeth_ptr + offset, magnitude * loudness * slope, mask=inside)


def _arguments(magnitude, weight, comb, teeth, path, loudness, gain, scale):
    """Return tensors, strides with sizes, and constants, as both kernels take them."""
    bins, frames = magnitude.shape[-2:]
    weighted, named = weight is not None, path is not None
    magnitude, *strides = planes(magnitude)
    weight, *weight_strides = planes(weight) if weighted else (magnitude, 0, 0)
    if named:
        comb, teeth, path = comb.contiguous(), teeth.contiguous(), path.contiguous()
        table_strides = (0, comb.stride(0), 0, teeth.stride(0))
    else:
        (comb, *comb_strides), (teeth, *teeth_strides), path = planes(comb), planes(teeth), magnitude
        table_strides = (*comb_strides, *teeth_strides)
    rows = (loudness.contiguous(), gain.contiguous(), scale.contiguous())
    numbers = (*strides, *weight_strides, *table_strides, bins, frames)
    return (magnitude, weight, comb, teeth, path, *rows), numbers, {"WEIGHTED": weighted, "NAMED": named}


def forward(magnitude, weight, comb, teeth, path, loudness, gain, scale) -> Tensor:
    """Compute `voicing_sums.reference` by kernels."""
    *batch, _, frames = magnitude.shape
    out = torch.empty(*batch, 5, frames, dtype=torch.float32, device=magnitude.device)
    if out.numel():
        tensors, numbers, constants = _arguments(magnitude, weight, comb, teeth, path, loudness, gain, scale)
        grid = (len(tensors[0]), triton.cdiv(frames, FORWARD["BLOCK_N"]))
        _forward[grid](*tensors, out, *numbers, **constants, **FORWARD, num_warps=WARPS)
    return out


def backward(
    gradient, magnitude, weight, comb, teeth, path, loudness, gain, scale, to_comb, to_scale
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Compute `voicing_sums.reference_gradients` by kernels, those to tables and scale in plain torch."""
    bins, frames = magnitude.shape[-2:]
    needed = (True, weight is not None, to_comb, path is None)
    d_magnitude, d_weight, d_comb, d_teeth = (
        torch.empty(magnitude.shape if x else (0,), dtype=torch.float32, device=magnitude.device)
        for x in needed
    )
    if magnitude.numel():
        tensors, numbers, constants = _arguments(magnitude, weight, comb, teeth, path, loudness, gain, scale)
        grid = (len(tensors[0]), triton.cdiv(frames, BACKWARD["BLOCK_N"]))
        _backward[(*grid, triton.cdiv(bins, BACKWARD["BLOCK_F"]))](
            gradient.contiguous(), *tensors, d_magnitude, d_weight, d_comb, d_teeth, *numbers,
            **constants, TO_COMB=to_comb, **BACKWARD, num_warps=WARPS,
        )  # fmt: skip
    if to_comb and path is not None:
        d_comb = add_columns(d_comb, path, comb.shape[1])
    return d_magnitude, d_weight, d_comb, d_teeth, scale_gradient(d_magnitude, magnitude, scale, to_scale)


def configurations() -> Iterator[Configuration]:
    """List all launches."""
    names = [name for kernel in (_forward, _backward) for name in kernel.arg_names if name.islower()]
    types = {name: "*fp32" if name.endswith("_ptr") else "i32" for name in names}
    for weighted, named in itertools.product((True, False), repeat=2):
        types |= {"path_ptr": "*i64" if named else "*fp32"}
        constants = {"WEIGHTED": weighted, "NAMED": named}
        yield Configuration.of(_forward, types, constants | FORWARD, WARPS, common=weighted)
        if weighted:
            half = types | {"weight_ptr": "*fp16"}
            yield Configuration.of(_forward, half, constants | FORWARD, WARPS, common=False)
        for to_comb in (True, False):
            more = constants | {"TO_COMB": to_comb} | BACKWARD
            yield Configuration.of(_backward, types, more, WARPS, common=weighted and to_comb != named)
