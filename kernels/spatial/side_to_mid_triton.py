"""Side-to-mid ratio on a GPU: both channels' spectra in, position and level out, frames innermost.

16 bytes of a bin in and 8 out: 16 x 1025 x 2584 bins are 1.02 GB, 0.24 ms at an H200's 4.3 TB/s. A frame's
neighbours are read again, from the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.fast_log2 import fast_log2
from torchprim.kernels.launch import Configuration
from torchprim.kernels.spatial.side_to_mid import LOWEST, POINTS, STEP
from torchprim.kernels.spectra.magnitude_triton import modulus, tile, unpack, words

# Bins and frames of a program: six numbers of each are in registers at once.
TILE = {"F": 32, "N": 32}
WARPS = 8

_ORIGIN = tl.constexpr(-LOWEST / STEP)
_PER_OCTAVE = tl.constexpr(20 * math.log10(2) / STEP)
_LAST = tl.constexpr(POINTS - 1.0)
_EXTREME = tl.constexpr(2.0**20)  # a ratio beyond the grid: its logarithm is finite


@triton.jit
def _forward(
    spectrum_ptr, position_ptr, level_ptr, bins, frames, channel_stride, bin_stride, frame_stride,
    F: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    item, f, n = tile(bins, frames, F, N)
    spectrum_ptr += item * 2 * channel_stride
    mid = tl.zeros((F, N), dtype=tl.float32)
    side = tl.zeros((F, N), dtype=tl.float32)
    for shift in tl.static_range(-1, 2):
        near = n + shift
        inside = (f < bins) & (near >= 0) & (near < frames)
        place = spectrum_ptr + (f.to(tl.int64) * bin_stride + near.to(tl.int64) * frame_stride)
        left, left_imaginary = unpack(tl.load(place, mask=inside, other=0))
        right, right_imaginary = unpack(tl.load(place + channel_stride, mask=inside, other=0))
        mid += modulus(left + right, left_imaginary + right_imaginary)
        side += modulus(left - right, left_imaginary - right_imaginary)
    ratio = tl.where(mid > 0.0, side / tl.where(mid > 0.0, mid, 1.0), _EXTREME)
    ratio = tl.minimum(tl.maximum(ratio, 1.0 / _EXTREME), _EXTREME)
    position = tl.minimum(tl.maximum(fast_log2(ratio) * _PER_OCTAVE + _ORIGIN, 0.0), _LAST)
    level = mid + side
    place = item * bins * frames + (f * frames + n)
    inside = (f < bins) & (n < frames)
    tl.store(position_ptr + place, tl.where(level > 0.0, position, 0.0), mask=inside)
    tl.store(level_ptr + place, level, mask=inside)


def forward(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Compute `side_to_mid.reference` by kernels."""
    shape = (*spectrum.shape[:-4], *spectrum.shape[-3:-1])
    position, level = (torch.empty(shape, dtype=spectrum.dtype, device=spectrum.device) for _ in range(2))
    if position.numel():
        spectrum, steps = words(spectrum)
        items, bins, frames = spectrum.shape
        programs = items // 2 * triton.cdiv(bins, TILE["F"]) * triton.cdiv(frames, TILE["N"])
        launch = _forward[(programs,)]
        launch(spectrum, position, level, bins, frames, *steps, **TILE, num_warps=WARPS)
    return position, level


def configurations() -> Iterator[Configuration]:
    """List the launches: bins innermost, as a transform writes, and frames."""
    types = dict.fromkeys(_forward.arg_names, "i32") | {"spectrum_ptr": "*i64"}
    types |= dict.fromkeys(("position_ptr", "level_ptr"), "*fp32")
    for innermost in ("bin_stride", "frame_stride"):
        constants = {innermost: 1, **TILE}
        yield Configuration.of(_forward, types, constants, WARPS, common=innermost == "bin_stride")
