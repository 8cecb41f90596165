"""Windowed frames on a GPU: padding, cutting and windowing in one pass.

At 16 x 30 s and a hop of W / 4 85 MB are read, once from memory and three times from the caches, and 339 MB
written: 0.10 ms of an H200. `torch.stft` pads a copy first, and multiplies views through general strides.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration

BLOCK = {"BLOCK": 2048}
WARPS = 4


@triton.jit
def _forward(audio_ptr, window_ptr, out_ptr, length, count, hop, size, BLOCK: tl.constexpr):
    """Write a block of a frame."""
    across = tl.cdiv(size, BLOCK)
    frame = tl.program_id(0) // across
    item = (frame // count).to(tl.int64)
    k = tl.program_id(0) % across * BLOCK + tl.arange(0, BLOCK)
    t = frame % count * hop + k - size // 2
    x = tl.load(audio_ptr + item * length + t, mask=(k < size) & (t >= 0) & (t < length), other=0.0)
    w = tl.load(window_ptr + k, mask=k < size, other=0.0)
    tl.store(out_ptr + frame.to(tl.int64) * size + k, x.to(tl.float32) * w.to(tl.float32), mask=k < size)


def forward(audio: Tensor, window: Tensor, hop: int) -> Tensor:
    """Compute `windowed_frames.reference` by kernels."""
    (items, length), size = audio.shape, len(window)
    count = 1 + length // hop
    out = torch.empty(items, count, size, dtype=audio.dtype, device=audio.device)
    if items:
        grid = (items * count * triton.cdiv(size, BLOCK["BLOCK"]),)
        tensors = (audio.contiguous(), window.contiguous(), out)
        _forward[grid](*tensors, length, count, hop, size, **BLOCK, num_warps=WARPS)
    return out


def configurations() -> Iterator[Configuration]:
    """List the launches, for hops above 1."""
    types = dict.fromkeys(("audio_ptr", "window_ptr", "out_ptr"), "*fp32")
    types |= dict.fromkeys(("length", "count", "hop", "size"), "i32")
    yield Configuration.of(_forward, types, BLOCK, WARPS)
