"""Bands of states on a GPU: four neighbouring states a thread, and a fold over the steps of a band."""

from __future__ import annotations

import triton
import triton.language as tl

from torchprim.kernels.paths.ring import fetch4, past


@triton.constexpr_function
def step(x, q, r):
    """Return the step in states from state r of a group of four to state q of the group x further."""
    return 4 * x + q - r


@triton.constexpr_function
def distance(x, q, r):
    """Return the size of a `step`."""
    return abs(4 * x + q - r)


@triton.constexpr_function
def band_groups(band):
    """Return how many groups of four a band touches on either side."""
    return (band + 3) // 4


@triton.jit
def fold_band(
    near: tl.constexpr, far: tl.constexpr, start, own, row, table, table_ptr, side,
    T: tl.constexpr, BAND: tl.constexpr,
):  # fmt: skip
    """Fold the states within the band of each state, in ascending order, into four columns.

    Args:
        near: `(value, columns, table, x, r, BAND)` -> value: folds the group x further into column r, by
            a table in registers.
        far: `(value, columns, table_ptr, x, r)` -> value: the same, by a table in memory.
        start: initial values of the four columns.
        own: the states as columns, or None to load them from the row, too.
        row: of the ring or of memory, states of a frame, `side` groups of padding on either side.
        table: of each distance, from `load_table`.
        table_ptr: the same in memory.
        side: groups of the band on either side, where it is a loop (BAND < 0).
    """
    a0, a1, a2, a3 = start
    if BAND >= 0:
        for x in tl.static_range(-band_groups(BAND), band_groups(BAND) + 1):
            columns = own
            if own is None or x != 0:
                columns = fetch4(past(row, 4 * x), 4 * tl.arange(0, T))
            a0 = near(a0, columns, table, x, 0, BAND)
            a1 = near(a1, columns, table, x, 1, BAND)
            a2 = near(a2, columns, table, x, 2, BAND)
            a3 = near(a3, columns, table, x, 3, BAND)
    else:
        for x in range(-side, side + 1):
            columns = fetch4(past(row, 4 * x), 4 * tl.arange(0, T))
            a0 = far(a0, columns, table_ptr, x, 0)
            a1 = far(a1, columns, table_ptr, x, 1)
            a2 = far(a2, columns, table_ptr, x, 2)
            a3 = far(a3, columns, table_ptr, x, 3)
    return a0, a1, a2, a3


@triton.jit
def load_table(table_ptr, BAND: tl.constexpr):
    """Load a table of all distances in the band into registers."""
    table = ()
    for k in tl.static_range(BAND + 1):
        table += (tl.load(table_ptr + k),)
    return table
