"""Inverse FFT of a masked spectrum on a GPU: the mask and the packing in one pass, then a complex FFT.

The frame x[t] of even length W = 2 M is read as z[m] = x[2 m] + i x[2 m + 1], whose transform is, with
S = X[k] + conj X[M - k], D = X[k] - conj X[M - k] and P = i exp(2 pi i k / W) D, and without factors,
Z[k] = S + P and Z[M - k] = conj(S - P), k = 0, ..., M / 2. A program reads the bins k and M - k, so that
each is read once. 12 bytes of a bin in and 8 out: 16 x 1025 x 2584 bins are 0.85 GB, 0.20 ms at an H200's
4.3 TB/s; the FFT reads and writes 0.68 GB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration
from torchprim.kernels.spectra.magnitude_triton import pack, tile, unpack, words
from torchprim.kernels.tables import constant_table

# Pairs of bins, and frames, of a program.
TILE = {"F": 32, "N": 32}
WARPS = 8


@triton.jit
def _masked(
    mask_ptr, spectrum_ptr, bin_, n, frames, bin_stride, frame_stride, inside, RESIDUAL: tl.constexpr
):  # fmt: skip
    """Load a bin of the spectrum, and of the mask, in the order of each; return their product."""
    place = bin_.to(tl.int64) * bin_stride + n.to(tl.int64) * frame_stride
    real, imaginary = unpack(tl.load(spectrum_ptr + place, mask=inside, other=0))
    gain = tl.load(mask_ptr + (bin_ * frames + n), mask=inside, other=0.0).to(tl.float32)
    if RESIDUAL:
        gain = 1.0 - gain
    return gain * real, gain * imaginary


@triton.jit
def _forward(
    mask_ptr, spectrum_ptr, twiddles_ptr, out_ptr,
    channels, half, frames, item_stride, bin_stride, frame_stride,
    RESIDUAL: tl.constexpr, F: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    item, k, n = tile(half // 2 + 1, frames, F, N)
    mirror = half - k
    inside = (k <= mirror) & (n < frames)
    mask_ptr += item // channels * (half + 1) * frames
    spectrum_ptr += item * item_stride
    a, b = _masked(mask_ptr, spectrum_ptr, k, n, frames, bin_stride, frame_stride, inside, RESIDUAL)
    c, d = _masked(mask_ptr, spectrum_ptr, mirror, n, frames, bin_stride, frame_stride, inside, RESIDUAL)
    b = tl.where(k == 0, 0.0, b)  # a real transform ignores the imaginary parts of its ends
    d = tl.where(k == 0, 0.0, d)
    cosine = tl.load(twiddles_ptr + 2 * k, mask=k <= mirror, other=0.0)
    sine = tl.load(twiddles_ptr + 2 * k + 1, mask=k <= mirror, other=0.0)
    sum_real, sum_imaginary = a + c, b - d
    real, imaginary = a - c, b + d
    turned_real = -(cosine * imaginary + sine * real)
    turned_imaginary = cosine * real - sine * imaginary
    out_ptr += item * frames * half
    frame = n.to(tl.int64) * half
    word = pack(sum_real + turned_real, sum_imaginary + turned_imaginary)
    tl.store(out_ptr + (frame + k), word, mask=inside)
    word = pack(sum_real - turned_real, turned_imaginary - sum_imaginary)
    tl.store(out_ptr + (frame + mirror), word, mask=inside & (k > 0) & (k < mirror))


@constant_table
def twiddles(half: int, device: torch.device) -> list[Tensor]:
    """Compute exp(i pi k / M) for k = 0, ..., M / 2, as pairs."""
    angle = torch.arange(half // 2 + 1, dtype=torch.float64, device=device) * (math.pi / half)
    return [torch.stack([angle.cos(), angle.sin()], -1).float()]


def forward(mask: Tensor, spectrum: Tensor, length: int, residual: bool) -> Tensor:
    """Compute `masked_frames.reference` by kernels."""
    half, channels, frames = length // 2, spectrum.shape[1], mask.shape[-1]
    packed = torch.empty(len(mask), channels, frames, half, 2, dtype=spectrum.dtype, device=mask.device)
    if not packed.numel():
        return packed.flatten(-2)
    spectrum, strides = words(spectrum)
    (table,) = twiddles(half, mask.device)
    grid = (len(spectrum) * triton.cdiv(half // 2 + 1, TILE["F"]) * triton.cdiv(frames, TILE["N"]),)
    tensors = (mask.contiguous(), spectrum, table, packed.view(torch.int64))
    sizes = (channels, half, frames, *strides)
    _forward[grid](*tensors, *sizes, RESIDUAL=residual, **TILE, num_warps=WARPS)
    transformed = torch.fft.ifft(torch.view_as_complex(packed), norm="forward")
    return torch.view_as_real(transformed).flatten(-2)


def configurations() -> Iterator[Configuration]:
    """List the launches of one channel: bins innermost, as a transform writes, and frames."""
    types = dict.fromkeys(_forward.arg_names, "i32") | dict.fromkeys(("mask_ptr", "twiddles_ptr"), "*fp32")
    types |= dict.fromkeys(("spectrum_ptr", "out_ptr"), "*i64")
    for residual in (False, True):
        for innermost in ("bin_stride", "frame_stride"):
            constants = {"channels": 1, innermost: 1, "RESIDUAL": residual, **TILE}
            common = innermost == "bin_stride" and not residual
            yield Configuration.of(_forward, types, constants, WARPS, common=common)
