"""Groups of four neighbouring states, a group a thread: as a tile `(T, 4)` and as four columns."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def split_columns(x, T: tl.constexpr):
    """Split `(T, 4)` into four columns, which lie in a thread's registers."""
    even, odd = tl.split(tl.reshape(x, (T, 2, 2)))
    x0, x2 = tl.split(even)
    x1, x3 = tl.split(odd)
    return x0, x1, x2, x3


@triton.jit
def join_columns(x0, x1, x2, x3, T: tl.constexpr):
    """Join four columns to `(T, 4)`."""
    return tl.reshape(tl.join(tl.join(x0, x2), tl.join(x1, x3)), (T, 4))
