"""A logarithm of one instruction, for Triton kernels."""

from __future__ import annotations

import os

import triton
import triton.language as tl

_INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")  # it knows no assembler


@triton.jit
def fast_log2(x):
    """Compute the base-2 logarithm to 2⁻²² by one instruction, where `tl.log2` compiles to some twenty."""
    if _INTERPRETED:
        return tl.log2(x)
    else:
        return tl.inline_asm_elementwise(
            "lg2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
