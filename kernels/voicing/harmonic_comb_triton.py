"""Harmonic comb on a GPU: the mask is written once, and never read for its gradients."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration

# Frames innermost: a row of a tile is one coalesced write.
FORWARD = {"BLOCK_F": 16, "BLOCK_N": 128}
BACKWARD = {"BLOCK_F": 32, "BLOCK_N": 32}
WARPS = 4


@triton.jit
def _tooth(f0, width, frequency, n_harmonics):
    """Return nearest harmonic, distance to it, and comb: pitches along columns, bins along rows."""
    nearest = tl.floor(frequency[:, None] / f0[None, :] + 0.5)
    nearest = tl.minimum(tl.maximum(nearest, 1.0), n_harmonics)
    distance = frequency[:, None] - nearest * f0[None, :]
    return nearest, distance, tl.exp(-0.5 * (distance / width) * (distance / width))


@triton.jit
def _forward(
    f0_ptr, height_ptr, width_ptr, out_ptr,
    bins, frames, bin_width, n_harmonics,
    BLOCK_F: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    item = tl.program_id(2).to(tl.int64)
    f = tl.program_id(1) * BLOCK_F + tl.arange(0, BLOCK_F)
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    f0 = tl.load(f0_ptr + item * frames + n, mask=n < frames, other=1.0)
    height = tl.load(height_ptr + item * frames + n, mask=n < frames, other=0.0)
    _, _, tooth = _tooth(f0, tl.load(width_ptr), f * bin_width, n_harmonics)
    inside = (f < bins)[:, None] & (n < frames)[None, :]
    out_ptr += item * bins * frames
    tl.store(out_ptr + f[:, None] * frames + n[None, :], height[None, :] * tooth, mask=inside)


@triton.jit
def _backward(
    gradient_ptr, f0_ptr, height_ptr, width_ptr, d_f0_ptr, d_height_ptr, d_width_ptr,
    bins, frames, bin_width, n_harmonics,
    BLOCK_F: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Sum over all bins of some frames in one program: no atomics, the same sum every time."""
    item = tl.program_id(1).to(tl.int64)
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    f0 = tl.load(f0_ptr + item * frames + n, mask=n < frames, other=1.0)
    height = tl.load(height_ptr + item * frames + n, mask=n < frames, other=0.0)
    width = tl.load(width_ptr)
    d_f0 = tl.zeros((BLOCK_N,), dtype=tl.float32)
    d_height = tl.zeros((BLOCK_N,), dtype=tl.float32)
    d_width = tl.zeros((BLOCK_N,), dtype=tl.float32)
    for first in range(0, bins, BLOCK_F):
        f = first + tl.arange(0, BLOCK_F)
        inside = (f < bins)[:, None] & (n < frames)[None, :]
        offset = item * bins * frames + f[:, None] * frames + n[None, :]
        gradient = tl.load(gradient_ptr + offset, mask=inside, other=0.0)
        nearest, distance, tooth = _tooth(f0, width, f * bin_width, n_harmonics)
        slope = gradient * height[None, :] * tooth * distance / (width * width)
        d_f0 += tl.sum(slope * nearest, 0)
        d_height += tl.sum(gradient * tooth, 0)
        d_width += tl.sum(slope * distance, 0)
    tl.store(d_f0_ptr + item * frames + n, d_f0, mask=n < frames)
    tl.store(d_height_ptr + item * frames + n, d_height, mask=n < frames)
    tl.store(d_width_ptr + item * frames + n, d_width / width, mask=n < frames)


def forward(
    f0: Tensor, height: Tensor, width: Tensor, bins: int, bin_width: float, n_harmonics: int
) -> Tensor:
    """Compute `harmonic_comb.reference` by kernels."""
    frames = f0.shape[-1]
    out = torch.empty(*f0.shape[:-1], bins, frames, dtype=torch.float32, device=f0.device)
    if out.numel():
        grid = (triton.cdiv(frames, FORWARD["BLOCK_N"]), triton.cdiv(bins, FORWARD["BLOCK_F"]))
        grid = (*grid, f0.numel() // frames)
        read = (f0.contiguous(), height.contiguous(), width)
        scalars = (bins, frames, bin_width, float(n_harmonics))
        _forward[grid](*read, out, *scalars, **FORWARD, num_warps=WARPS)
    return out


def backward(
    gradient: Tensor, f0: Tensor, height: Tensor, width: Tensor, bin_width: float, n_harmonics: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `harmonic_comb.reference_gradients` by kernels."""
    bins, frames = gradient.shape[-2:]
    d_f0, d_height, d_width = (torch.empty(f0.shape, dtype=torch.float32, device=f0.device) for _ in range(3))
    if f0.numel():
        grid = (triton.cdiv(frames, BACKWARD["BLOCK_N"]), f0.numel() // frames)
        read = [x.contiguous() for x in (gradient, f0, height, width)]
        scalars = (bins, frames, bin_width, float(n_harmonics))
        _backward[grid](*read, d_f0, d_height, d_width, *scalars, **BACKWARD, num_warps=WARPS)
    return d_f0, d_height, d_width.sum()


def configurations() -> Iterator[Configuration]:
    """List all launches."""
    pointers = [name for name in (*_forward.arg_names, *_backward.arg_names) if name.endswith("_ptr")]
    types = dict.fromkeys(pointers, "*fp32")
    types |= {"bins": "i32", "frames": "i32", "bin_width": "fp32", "n_harmonics": "fp32"}
    yield Configuration.of(_forward, types, FORWARD, WARPS)
    yield Configuration.of(_backward, types, BACKWARD, WARPS)
