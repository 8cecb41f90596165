"""Gradients of peaks, axis and level on a GPU: magnitude, weight and both gradients are read once or twice.

A program has some frames: a loop over the bins finds the highest peak, a second one gathers for each bin from
the peaks that its level is part of. For 16 x 30 s: 62 + 62 + 62 + 115 MB read and 125 written, 0.1 ms at
4.3 TB/s.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.fast_log2 import fast_log2
from torchprim.kernels.launch import Configuration
from torchprim.kernels.layout import planes
from torchprim.kernels.salience.salience_inputs_triton import (
    FLOOR,
    LEAST,
    OFFSET,
    OFFSET_ROOT,
    POWER,
    RANGE,
    log_root,
    peak_at,
    place_at,
)
from torchprim.kernels.scale import scale_gradient

# Frames innermost: a row of a tile is one coalesced access.
BACKWARD = {"BLOCK_F": 8, "BLOCK_N": 32}
WARPS = 4


@triton.jit
def _load(ptr, row, k, n, bins, frames, other):
    inside = ((k >= 0) & (k < bins))[:, None] & (n < frames)[None, :]
    return tl.load(ptr + k[:, None] * row + n[None, :], mask=inside, other=other).to(tl.float32)


@triton.jit
def _heard(ptr, row, gain_ptr, scale, k, n, bins, frames):
    gain = scale * tl.load(gain_ptr + k, mask=(k >= 0) & (k < bins), other=0.0)
    return _load(ptr, row, k, n, bins, frames, 0.0) * gain[:, None]


@triton.jit
def _peak(ptr, row, gain_ptr, scale, k, n, bins, frames):
    """Return whether bin k is a peak, its offset, and the base-2 logarithm of its height."""
    below = fast_log2(tl.maximum(_heard(ptr, row, gain_ptr, scale, k - 1, n, bins, frames), FLOOR))
    here = fast_log2(tl.maximum(_heard(ptr, row, gain_ptr, scale, k, n, bins, frames), FLOOR))
    above = fast_log2(tl.maximum(_heard(ptr, row, gain_ptr, scale, k + 1, n, bins, frames), FLOOR))
    return peak_at(below, here, above, ((k >= 1) & (k < bins))[:, None])


@triton.jit
def _slope(
    d_axis_ptr, magnitude_ptr, magnitude_row, gain_ptr, scale, weight_ptr, weight_row, k, n, top,
    bins, peak_bins, places, frames, ratio, WEIGHTED: tl.constexpr,
):  # fmt: skip
    """Compute the gradient to the log height of the peak at bin k, 0 where there is none; and its offset."""
    _, shift, height = _peak(magnitude_ptr, magnitude_row, gain_ptr, scale, k, n, peak_bins, frames)
    place = place_at(k[:, None] + shift, ratio)
    counts = (height > (top + RANGE)[None, :]) & (place >= 0) & (place < places)
    if WEIGHTED:
        weight = _load(weight_ptr, weight_row, k, n, bins, frames, 1.0)
        height += log_root(weight)
    row = tl.where(counts, place, 0.0).to(tl.int32)
    gradient = tl.load(d_axis_ptr + row * frames + n[None, :], mask=counts & (n < frames)[None, :], other=0.0)
    return tl.where(counts, POWER * tl.exp2(POWER * height) * gradient, 0.0), shift


@triton.jit
def _backward(
    d_axis_ptr, d_level_ptr, magnitude_ptr, gain_ptr, weight_ptr, scale_ptr, d_magnitude_ptr, d_weight_ptr,
    magnitude_item, magnitude_row, weight_item, weight_row,
    bins, peak_bins, places, frames, ratio,
    WEIGHTED: tl.constexpr, BLOCK_F: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Gather for each bin from the peaks that its level is part of: at the bin and at its neighbours."""
    item = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    scale = tl.load(scale_ptr + item)
    magnitude_ptr += item * magnitude_item
    weight_ptr += item * weight_item
    d_axis_ptr += item * places * frames
    d_level_ptr += item * bins * frames
    d_magnitude_ptr += item * bins * frames
    d_weight_ptr += item * bins * frames

    top = tl.full((BLOCK_N,), float("-inf"), dtype=tl.float32)
    for first in range(0, peak_bins, BLOCK_F):
        k = first + tl.arange(0, BLOCK_F)
        _, _, height = _peak(magnitude_ptr, magnitude_row, gain_ptr, scale, k, n, peak_bins, frames)
        top = tl.maximum(top, tl.max(height, 0))

    for first in range(0, bins, BLOCK_F):
        k = first + tl.arange(0, BLOCK_F)
        gain = scale * tl.load(gain_ptr + k, mask=k < bins, other=0.0)[:, None]
        heard = _load(magnitude_ptr, magnitude_row, k, n, bins, frames, 0.0) * gain
        d_level = _load(d_level_ptr, frames, k, n, bins, frames, 0.0)
        sqrt = tl.sqrt_rn(heard + OFFSET)
        d_height = tl.zeros((BLOCK_F, BLOCK_N), dtype=tl.float32)
        d_log = tl.zeros((BLOCK_F, BLOCK_N), dtype=tl.float32)
        if first < peak_bins:
            for j in tl.static_range(-1, 2):
                slope, s = _slope(
                    d_axis_ptr, magnitude_ptr, magnitude_row, gain_ptr, scale, weight_ptr, weight_row,
                    k + j, n, top, bins, peak_bins, places, frames, ratio, WEIGHTED,
                )  # fmt: skip
                if j == 0:
                    d_height = slope
                    d_log += slope * (1 - s * s)
                else:  # bin k is the lower neighbour of bin k + 1, and the upper one of bin k - 1
                    d_log += 0.5 * slope * (s * s - j * s)
        audible = (heard >= FLOOR) & (k < peak_bins)[:, None]
        d_heard = tl.where(audible, tl.div_rn(d_log, tl.maximum(heard, FLOOR)), 0.0)
        half = tl.div_rn(0.5 * d_level, sqrt)
        offset = k[:, None] * frames + n[None, :]
        inside = (k < bins)[:, None] & (n < frames)[None, :]
        if WEIGHTED:
            weight = _load(weight_ptr, weight_row, k, n, bins, frames, 1.0)
            root = tl.exp2(log_root(weight))
            d_root = d_level * (sqrt - OFFSET_ROOT) + d_height / root
            d_weight = tl.div_rn(0.25 * d_root * root, tl.maximum(weight, LEAST))
            tl.store(d_weight_ptr + offset, tl.where(weight >= LEAST, d_weight, 0.0), mask=inside)
            half *= root
        tl.store(d_magnitude_ptr + offset, (d_heard + half) * gain, mask=inside)


def backward(
    d_axis: Tensor,
    d_level: Tensor,
    magnitude: Tensor,
    gain: Tensor,
    weight: Tensor | None,
    scale: Tensor,
    ratio: float,
    peak_bins: int,
    to_scale: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `salience_inputs.reference_gradients` by kernels, that to the scale in plain torch."""
    bins, frames = magnitude.shape[-2:]
    places, weighted = d_axis.shape[-2], weight is not None
    d_magnitude = torch.empty(magnitude.shape, dtype=torch.float32, device=magnitude.device)
    d_weight = torch.empty_like(d_magnitude) if weighted else d_magnitude.new_empty(0)
    if magnitude.numel():
        plane, *strides = planes(magnitude)
        weight, *weight_strides = planes(weight) if weighted else (plane, 0, 0)
        _backward[(len(plane), triton.cdiv(frames, BACKWARD["BLOCK_N"]))](
            d_axis.contiguous(), d_level.contiguous(), plane, gain.contiguous(), weight, scale.contiguous(),
            d_magnitude, d_weight, *strides, *weight_strides, bins, peak_bins, places, frames, ratio,
            WEIGHTED=weighted, **BACKWARD, num_warps=WARPS,
        )  # fmt: skip
    return d_magnitude, d_weight, scale_gradient(d_magnitude, magnitude, scale, to_scale)


def configurations() -> Iterator[Configuration]:
    """List all launches."""
    names = [name for name in _backward.arg_names if name.islower()]
    types = {name: "*fp32" if name.endswith("_ptr") else "i32" for name in names} | {"ratio": "fp32"}
    for weighted in (True, False):
        yield Configuration.of(_backward, types, {"WEIGHTED": weighted} | BACKWARD, WARPS, common=weighted)
