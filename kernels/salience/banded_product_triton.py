"""Single precision from tensor cores: three TF32 products, of 11 bits of the mantissa, for one of 24.

x = h + l, both exact in TF32 but for the last bits of l: M x = Mh xh + Ml xh + Mh xl, the product of the
two rests lying below float32's rounding. The matrix is split beforehand, so that Hopper's wgmma reads it
from shared memory as it was copied there; x is split in registers, where the left operand may lie. So
frames are the rows of a tile.

At an H200's rates, for the harmonic sum of 16 x 30 s (454 x 698 on 41,344 frames, 26 GFLOP, 20 in blocks
that are not zero): 3 x 20 at 495 TFLOP/s are 0.12 ms; float32 units at 67 TFLOP/s need 0.39 ms for all of
it; a gather of 20 harmonics x 21 places makes 9 GFLOP of it, but loads a number for each product, 19 GB
through caches of some 10 TB/s. Bytes: 115 MB read, 75 written, 0.04 ms.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration
from torchprim.kernels.layout import planes

# Two programs of up to 128 registers a thread share a multiprocessor: one splits while the other multiplies.
# The matrix is prepared for BLOCK_P and BLOCK_K: `banded_product.ROWS` and `UNIT`.
TILE = {"BLOCK_N": 128, "BLOCK_P": 64, "BLOCK_K": 16}
WARPS = 8
STAGES = 3


@triton.jit
def _product(
    x_ptr, high_ptr, low_ptr, ranges_ptr, out_ptr,
    x_item, x_row, frames, width, rows, depth, blocks,
    UNIT: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Multiply a tile; sizes along frames are in `UNIT`s, so that copies are aligned to 16 bytes."""
    block = tl.program_id(0) % blocks  # neighbouring programs read the same x
    tile = tl.program_id(0) // blocks
    frames = frames * UNIT
    tiles = tl.cdiv(frames, BLOCK_N)
    item = (tile // tiles).to(tl.int64)
    p = block * BLOCK_P + tl.arange(0, BLOCK_P)
    n = tile % tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    x_row = x_row * UNIT
    width = width * 16
    x_ptr += item * x_item * UNIT
    first = tl.load(ranges_ptr + 2 * block) * 16
    end = tl.load(ranges_ptr + 2 * block + 1) * 16
    out = tl.zeros((BLOCK_N, BLOCK_P), dtype=tl.float32)
    for start in range(first, end, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        inside = (n < frames)[:, None] & (k < depth)[None, :]
        x = tl.load(x_ptr + k[None, :] * x_row + n[:, None], mask=inside, other=0.0)
        entry = p[None, :] * width + k[:, None]
        high = tl.load(high_ptr + entry)
        low = tl.load(low_ptr + entry)
        x_high = (x.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)
        # Added to `out` here: products are asynchronous, and one in flight at the end of an iteration
        # would read its left operand from registers that the next overwrites. Tensor cores truncate, too.
        part = tl.dot(x - x_high, high, input_precision="tf32")
        part = tl.dot(x_high, low, part, input_precision="tf32")
        part = tl.dot(x_high, high, part, input_precision="tf32")
        out += part
    offset = item * rows * frames + p[None, :] * frames + n[:, None]
    tl.store(out_ptr + offset, out, mask=(n < frames)[:, None] & (p < rows)[None, :])


def forward(x: Tensor, parts: Tensor, ranges: Tensor, parts_t: Tensor, ranges_t: Tensor, rows: int) -> Tensor:
    """Compute `banded_product.reference` by kernels."""
    *batch, depth, frames = x.shape
    out = torch.empty(*batch, rows, frames, dtype=torch.float32, device=x.device)
    if out.numel():
        x, *strides = planes(x)
        strides.append(frames)
        unit = 1 if any(stride % 4 for stride in strides) else 4
        grid = (len(ranges) * triton.cdiv(frames, TILE["BLOCK_N"]) * len(x),)
        _product[grid](
            x, parts[0], parts[1], ranges, out, *(stride // unit for stride in strides),
            parts.shape[-1] // 16, rows, depth, len(ranges),
            UNIT=unit, **TILE, num_warps=WARPS, num_stages=STAGES,
        )  # fmt: skip
    return out


def configurations() -> Iterator[Configuration]:
    """List all launches."""
    tensors = dict.fromkeys(("x_ptr", "high_ptr", "low_ptr", "out_ptr"), "*fp32") | {"ranges_ptr": "*i32"}
    scalars = dict.fromkeys(("x_item", "x_row", "frames", "width", "rows", "depth", "blocks"), "i32")
    for unit in (4, 1):
        yield Configuration(_product, tensors | scalars, {"UNIT": unit} | TILE, WARPS, STAGES)
