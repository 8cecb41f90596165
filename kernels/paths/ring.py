"""A ring in shared memory, through which the threads of a program exchange numbers frame by frame.

What one thread stores another loads some 30 clocks after the barrier, where a ring in global memory waits
for the second-level cache, about 270 clocks. Triton lays out shared memory itself and gives a kernel no
address in it; a few lines of PTX do. The interpreter knows no assembler, and a band that is a loop may need
more than the 48 KB that a program can declare: there the ring lies in global memory. Offsets are the same in
both, so that the interpreter checks all but the instructions; functions see by a ring's type which it is.
"""

from __future__ import annotations

import os

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.paths.columns import join_columns, split_columns

_INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")


@triton.constexpr_function
def _declaration(numbers):
    return f"{{ .shared .align 16 .b8 ring[{4 * numbers}]; mov.u32 $0, ring; }}"


@triton.jit
def open_ring(ring_ptr, BAND: tl.constexpr, NUMBERS: tl.constexpr):
    """Return the ring of a program, of any content: an address in shared memory, or `ring_ptr`.

    Args:
        ring_ptr: its place in global memory, from `ring_memory`.
        BAND: the unrolled band, or -1 of one that is a loop, which has its ring in global memory.
        NUMBERS: of the ring in shared memory, 12,288 at most.
    """
    if BAND < 0 or _INTERPRETED:
        return ring_ptr
    else:  # not pure: a copy of it would be a second ring
        return tl.inline_asm_elementwise(
            _declaration(NUMBERS), "=r", [], dtype=tl.int32, is_pure=False, pack=1
        )


@triton.jit
def past(ring, numbers):
    """Return the place some numbers further."""
    if ring.dtype.is_ptr():
        return ring + numbers
    else:
        return ring + 4 * numbers


@triton.jit
def put(ring, offset, value):
    """Store float32 numbers at offsets, for all threads after the next barrier."""
    if ring.dtype.is_ptr():
        tl.store(ring + offset, value)
    else:
        tl.inline_asm_elementwise(
            "st.shared.f32 [$1], $2; mov.u32 $0, 0;", "=r,r,f", [ring + 4 * offset, value],
            dtype=tl.int32, is_pure=False, pack=1,
        )  # fmt: skip


@triton.jit
def put4(ring, offset, x0, x1, x2, x3):
    """Store four columns at offsets, multiples of 4."""
    if ring.dtype.is_ptr():
        T: tl.constexpr = offset.shape[0]
        index = tl.multiple_of(offset, 4)[:, None] + tl.arange(0, 4)[None, :]
        tl.store(ring + index, join_columns(x0, x1, x2, x3, T))
    else:
        tl.inline_asm_elementwise(
            "st.shared.v4.f32 [$1], {$2, $3, $4, $5}; mov.u32 $0, 0;",
            "=r,r,f,f,f,f", [ring + 4 * offset, x0, x1, x2, x3],
            dtype=tl.int32, is_pure=False, pack=1,
        )  # fmt: skip


@triton.jit
def fetch(ring, offset):
    """Load float32 numbers at offsets."""
    if ring.dtype.is_ptr():
        return tl.load(ring + offset)
    else:
        return tl.inline_asm_elementwise(
            "ld.shared.f32 $0, [$1];", "=f,r", [ring + 4 * offset],
            dtype=tl.float32, is_pure=False, pack=1,
        )  # fmt: skip


@triton.jit
def fetch4(ring, offset):
    """Load four numbers at each of the offsets, multiples of 4, as four columns."""
    if ring.dtype.is_ptr():
        index = tl.multiple_of(offset, 4)[:, None] + tl.arange(0, 4)[None, :]
        return split_columns(tl.load(ring + index), offset.shape[0])
    else:
        return tl.inline_asm_elementwise(
            "ld.shared.v4.f32 {$0, $1, $2, $3}, [$4];", "=f,=f,=f,=f,r", [ring + 4 * offset],
            dtype=(tl.float32, tl.float32, tl.float32, tl.float32), is_pure=False, pack=1,
        )  # fmt: skip


def ring_memory(programs: int, numbers: int, band: int, like: Tensor) -> Tensor:
    """Allocate global memory for the rings of all programs, or return any tensor where they are shared."""
    if band < 0 or _INTERPRETED:
        return torch.empty(programs * numbers, dtype=torch.float32, device=like.device)
    return like
