"""Mask of harmonic-percussive separation on a GPU: both medians stay in registers.

Two networks decide: 2 x 32.4 minima and maxima an output for windows of 31, 2 x 20.6 for 17. 42 million
outputs (16 x 1025 x 2584) take 0.19 ms and 0.12 ms of an H200's minima and maxima, 0.08 ms of its memory.

The backward pass recomputes the medians and stores them: two medians, one pass for the slopes at them, and a
gather for each axis, 76 bytes an output in all.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.hpss import sliding_median_triton as medians
from torchprim.kernels.hpss.sliding_median_backward_triton import backward as median_backward
from torchprim.kernels.hpss.sliding_median_triton import COLUMNS, ROWS, medians_across, medians_inside, tile
from torchprim.kernels.launch import Configuration

SLOPES = {"BLOCK": 512}
SLOPES_WARPS = 4


@triton.jit
def _raised(ratio, power):
    """Return ratio^power, for a ratio in [0, 1]; the usual power 2 needs no logarithm."""
    if power == 2.0:  # noqa: SIM108 (one branch runs, a conditional expression would compute both)
        result = ratio * ratio
    else:
        result = tl.exp2(power * tl.log2(ratio))
    return result


@triton.jit
def _ratio(harmonic, percussive, power):
    """Return the larger of the two, smaller / larger, its power, and a^p / (a^p + b^p)."""
    larger = tl.maximum(harmonic, percussive)
    ratio = tl.where(larger > 0, tl.minimum(harmonic, percussive) / larger, 1.0)
    raised = _raised(ratio, power)
    return larger, ratio, raised, tl.where(harmonic >= percussive, 1.0, raised) / (1.0 + raised)


@triton.jit
def _forward(
    x_ptr, power_ptr, gain_ptr, out_ptr, bins, frames,
    OVER_FRAMES: tl.constexpr, OVER_BINS: tl.constexpr,
    TILE_N: tl.constexpr, TILE_F: tl.constexpr, R: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    item = tl.program_id(2).to(tl.int64) * bins * frames
    first_f, first_n = tl.program_id(1) * R, tl.program_id(0) * C
    x_ptr += item
    rows = x_ptr + first_f * frames
    harmonic = medians_inside(rows, bins - first_f, first_n, frames, OVER_FRAMES, TILE_N, R, C)
    n = tl.minimum(first_n + tl.arange(0, C), frames - 1)
    percussive, x = medians_across(x_ptr, n, first_f, bins, frames, OVER_BINS, TILE_F, R, C)
    _, _, _, mask = _ratio(harmonic, percussive, tl.load(power_ptr))
    index = tl.arange(0, R * C)
    f, n = first_f + index // C, first_n + index % C
    gain = tl.load(gain_ptr + tl.minimum(f, bins - 1))
    mask = tl.where(x > 0, mask * gain, 0.0)
    tl.store(out_ptr + item + (f * frames + n), mask, mask=(f < bins) & (n < frames))


@triton.jit
def _slopes(
    gradient_ptr, x_ptr, harmonic_ptr, percussive_ptr, power_ptr, gain_ptr,
    d_harmonic_ptr, d_percussive_ptr, d_power_ptr, d_gain_ptr, bins, frames,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute `hpss_mask._slopes` for one bin of one item, and the sums over its frames."""
    row = tl.program_id(0)
    start = row.to(tl.int64) * frames
    power = tl.load(power_ptr)
    gain = tl.load(gain_ptr + row % bins)
    d_power = tl.zeros((BLOCK,), dtype=tl.float32)
    d_gain = tl.zeros((BLOCK,), dtype=tl.float32)
    for first in range(0, frames, BLOCK):
        n = first + tl.arange(0, BLOCK)
        inside = n < frames
        x = tl.load(x_ptr + start + n, mask=inside, other=0).to(tl.float32)
        gradient = tl.load(gradient_ptr + start + n, mask=inside, other=0)
        gradient = tl.where(x > 0, gradient, 0.0)
        harmonic = tl.load(harmonic_ptr + start + n, mask=inside, other=0).to(tl.float32)
        percussive = tl.load(percussive_ptr + start + n, mask=inside, other=0).to(tl.float32)
        larger, ratio, raised, mask = _ratio(harmonic, percussive, power)
        d_gain += gradient * mask
        above = harmonic >= percussive
        signed = tl.where(above, gradient, -gradient) * gain / ((1.0 + raised) * (1.0 + raised))
        d_power -= tl.where(raised > 0, signed * raised * tl.log(tl.where(ratio > 0, ratio, 1.0)), 0.0)
        lowered = tl.where(
            ratio > 0, raised / tl.where(ratio > 0, ratio, 1.0), tl.where(power == 1.0, 1.0, 0.0)
        )
        signed = tl.where(larger > 0, signed * power / tl.where(larger > 0, larger, 1.0), 0.0)
        to_larger, to_smaller = signed * raised, -signed * lowered
        tl.store(d_harmonic_ptr + start + n, tl.where(above, to_larger, to_smaller), mask=inside)
        tl.store(d_percussive_ptr + start + n, tl.where(above, to_smaller, to_larger), mask=inside)
    tl.store(d_power_ptr + row, tl.sum(d_power, 0))
    tl.store(d_gain_ptr + row, tl.sum(d_gain, 0))


def forward(
    magnitude: Tensor, power: Tensor, gain: Tensor, over_frames: int, over_bins: int, dtype: torch.dtype
) -> Tensor:
    """Compute `hpss_mask.reference` by kernels."""
    bins, frames = magnitude.shape[-2:]
    out = torch.empty(magnitude.shape, dtype=dtype, device=magnitude.device)
    if out.numel():
        c = medians.columns(frames)
        grid = (triton.cdiv(frames, c), triton.cdiv(bins, ROWS), out.numel() // (bins * frames))
        read = [t.contiguous() for t in (magnitude, power, gain)]
        windows = (over_frames, over_bins, tile(over_frames), tile(over_bins))
        _forward[grid](*read, out, bins, frames, *windows, ROWS, c, num_warps=c // 32)
    return out


def backward(
    gradient: Tensor,
    magnitude: Tensor,
    power: Tensor,
    gain: Tensor,
    over_frames: int,
    over_bins: int,
    to_magnitude: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `hpss_mask.reference_gradients` by kernels."""
    bins, frames = magnitude.shape[-2:]
    rows = magnitude.numel() // frames
    x, gradient, power, gain = (t.contiguous() for t in (magnitude, gradient, power, gain))
    d_power = torch.empty(rows, dtype=torch.float32, device=x.device)
    d_gain = torch.empty(rows, dtype=torch.float32, device=x.device)
    d_magnitude = torch.empty(x.shape if to_magnitude else 0, dtype=torch.float32, device=x.device)
    if rows:
        windows = ((over_frames, -1), (over_bins, -2))
        values = [medians.forward(x, window, dim) for window, dim in windows]
        slopes = [torch.empty(x.shape, dtype=torch.float32, device=x.device) for _ in range(2)]
        read = (gradient, x, *values, power, gain)
        _slopes[rows,](*read, *slopes, d_power, d_gain, bins, frames, **SLOPES, num_warps=SLOPES_WARPS)
    if rows and to_magnitude:
        median_backward(slopes[0], x, values[0], *windows[0], d_magnitude, add=False)
        median_backward(slopes[1], x, values[1], *windows[1], d_magnitude, add=True)
    return d_magnitude.to(magnitude.dtype), d_power.sum(), d_gain.view(-1, bins).sum(0)


# As `sliding_median_triton.COMPILED`; the last pairs are of windows with different tiles.
COMPILED = (*((w, w) for w in medians.COMPILED), (63, 2), (2, 63), (31, 17), (63, 8))


def configurations() -> Iterator[Configuration]:
    """List the launches for the pairs of windows in `COMPILED`."""
    sizes = {"bins": "i32", "frames": "i32"}
    for over_frames, over_bins in COMPILED:
        usual = over_frames == over_bins and over_bins in medians.DEFAULTS
        for dtype, c in medians.variants(usual):
            tensors = {"x_ptr": dtype} | dict.fromkeys(("power_ptr", "gain_ptr", "out_ptr"), "*fp32")
            constants = {"OVER_FRAMES": over_frames, "OVER_BINS": over_bins}
            constants |= {"TILE_N": tile(over_frames), "TILE_F": tile(over_bins), "R": ROWS, "C": c}
            common = (over_frames, over_bins, dtype, c) == (31, 31, "*fp32", COLUMNS["wide"])
            yield Configuration(_forward, tensors | sizes, constants, c // 32, common=common)
            if dtype == "*fp32":  # a mask in half precision
                tensors |= {"out_ptr": "*fp16"}
                yield Configuration(_forward, tensors | sizes, constants, c // 32, common=False)
    names = [name for name in _slopes.arg_names if name.endswith("_ptr")]
    for dtype in ("*fp32", "*fp16", "*bf16"):
        read = dict.fromkeys(("x_ptr", "harmonic_ptr", "percussive_ptr"), dtype)
        tensors = dict.fromkeys(names, "*fp32") | read
        yield Configuration(_slopes, tensors | sizes, SLOPES, SLOPES_WARPS, common=dtype == "*fp32")
