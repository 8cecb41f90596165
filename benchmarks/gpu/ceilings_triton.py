"""Two kernels for rates that no library call has: minima and maxima a second, and a serial step."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

BLOCK = 1024
WARPS = 4
OPERATIONS = 16  # of a round, per element of a block
LANES = 512  # of the serial chain: a little more than the pitches of a Viterbi step


@triton.jit
def _extrema(out_ptr, rounds, BLOCK: tl.constexpr):
    """Compare and swap eight values in registers, in pairs and then in shifted pairs, for some rounds."""
    x = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.float32)
    a, b, c, d, e, f, g, h = x, 7.0 - x, x * 0.5, 3.0 - x, x * 0.25, 1.0 - x, x * 0.125, 9.0 - x
    for _ in range(rounds):
        a, b = tl.minimum(a, b), tl.maximum(a, b)
        c, d = tl.minimum(c, d), tl.maximum(c, d)
        e, f = tl.minimum(e, f), tl.maximum(e, f)
        g, h = tl.minimum(g, h), tl.maximum(g, h)
        b, c = tl.minimum(c, b), tl.maximum(c, b)
        d, e = tl.minimum(e, d), tl.maximum(e, d)
        f, g = tl.minimum(g, f), tl.maximum(g, f)
        h, a = tl.minimum(a, h), tl.maximum(a, h)
    tl.store(out_ptr + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), a + b + c + d + e + f + g + h)


@triton.jit
def _chain(out_ptr, steps, LANES: tl.constexpr):
    """Chain steps that depend on the maximum over all lanes of the one before, as Viterbi's do."""
    x = tl.arange(0, LANES).to(tl.float32)
    for _ in range(steps):
        x = x * 0.25 + tl.max(x, 0) * 0.5
    tl.store(out_ptr + tl.program_id(0) * LANES + tl.arange(0, LANES), x)


def extrema(out: torch.Tensor, rounds: int) -> None:
    """Launch OPERATIONS * rounds minima and maxima per element of `out` `(programs * BLOCK,)`."""
    _extrema[(out.numel() // BLOCK,)](out, rounds, BLOCK=BLOCK, num_warps=WARPS)


def chain(out: torch.Tensor, steps: int) -> None:
    """Launch `steps` dependent steps in each program; `out` is `(programs * LANES,)`."""
    _chain[(out.numel() // LANES,)](out, steps, LANES=LANES, num_warps=WARPS)
