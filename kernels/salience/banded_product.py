"""Product of a fixed matrix that is zero outside a band with many columns, in single precision."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.kernels.dispatch import takes_kernel

ROWS = 128  # of a block that has its own band
UNIT = 16  # columns that a band is counted in


class Banded(NamedTuple):
    """A matrix `(P, K)` and its transpose, made ready once.

    Each is padded to whole blocks and split into the 11 leading bits of its numbers, which tensor cores
    can multiply, and the rest; `ranges` says for every 128 rows which 16 columns hold other than zeros.
    """

    parts: Tensor  # (2, P', K')
    ranges: Tensor  # (P' / 128, 2), int32: first and end, in 16 columns
    parts_t: Tensor  # (2, K'', P'')
    ranges_t: Tensor
    rows: int  # P
    depth: int  # K


def _ready(matrix: Tensor) -> tuple[Tensor, Tensor]:
    rows, depth = (-size % block for size, block in zip(matrix.shape, (ROWS, UNIT), strict=True))
    padded = torch.nn.functional.pad(matrix, (0, depth, 0, rows))
    high = padded
    if matrix.dtype == torch.float32:
        high = (padded.view(torch.int32) & -8192).view(torch.float32)
    # In tensors alone, so that torch.compile can trace it.
    filled = padded.ne(0).reshape(-1, ROWS, padded.shape[1] // UNIT, UNIT).any(3).any(1).int()
    some = filled.amax(1)
    ends = (filled.shape[1] - filled.flip(1).argmax(1)) * some
    ranges = torch.stack([filled.argmax(1) * some, ends], 1).to(torch.int32)
    return torch.stack([high, padded - high]), ranges


def banded(matrix: Tensor, device: torch.device | str) -> Banded:
    """Make a matrix ready for `banded_product`.

    Args:
        matrix: `(P, K)` on the CPU, float32 or float64.
        device: where the product is to be taken.

    Raises:
        ValueError: for a matrix of another shape or type.

    Example:
        >>> import torch
        >>> from torchprim.kernels.salience.banded_product import banded
        >>> banded(torch.eye(3), "cpu").ranges.tolist()
        [[0, 1]]
    """
    if matrix.dim() != 2 or not matrix.numel() or matrix.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"matrix must have shape (P, K), float32 or float64, got {matrix.dtype} {tuple(matrix.shape)}"
        )
    made = (*_ready(matrix), *_ready(matrix.t().contiguous()))
    return Banded(*(x.to(device) for x in made), *matrix.shape)


def reference(x: Tensor, parts: Tensor, rows: int) -> Tensor:
    """The matrix product of the whole matrix."""
    return parts.sum(0)[:rows, : x.shape[-2]] @ x


@torch.library.custom_op("torchprim::banded_product", mutates_args=())
def _product(
    x: Tensor, parts: Tensor, ranges: Tensor, parts_t: Tensor, ranges_t: Tensor, rows: int
) -> Tensor:
    if takes_kernel(x, parts, ranges):
        from torchprim.kernels.salience import banded_product_triton

        return banded_product_triton.forward(x, parts, ranges, rows)
    return reference(x, parts, rows)


@_product.register_fake
def _(x, parts, ranges, parts_t, ranges_t, rows):
    return x.new_empty(*x.shape[:-2], rows, x.shape[-1])


def _remember(ctx, inputs, output):
    x, *tables, _ = inputs
    ctx.depth = x.shape[-2]
    ctx.save_for_backward(*tables)


def _gradient(ctx, gradient):
    parts, ranges, parts_t, ranges_t = ctx.saved_tensors
    return _product(gradient, parts_t, ranges_t, parts, ranges, ctx.depth), None, None, None, None, None


_product.register_autograd(_gradient, setup_context=_remember)


def banded_product(matrix: Banded, x: Tensor) -> Tensor:
    """M x for every item of a batch, as a float32 product gives it, on tensor cores where there are any.

    Args:
        matrix: from `banded`, of the type and on the device of `x`.
        x: `(..., K, N)`.

    Returns:
        `(..., P, N)`. A gradient flows to `x`.

    Raises:
        ValueError: where sizes or types do not fit.

    Example:
        >>> import torch
        >>> from torchprim.kernels.salience.banded_product import banded, banded_product
        >>> banded_product(banded(torch.tensor([[1.0, 2.0]]), "cpu"), torch.tensor([[3.0], [4.0]]))
        tensor([[11.]])
    """
    if x.dim() < 2 or x.shape[-2] != matrix.depth:
        raise ValueError(f"x must have shape (..., {matrix.depth}, N), got {tuple(x.shape)}")
    if x.dtype != matrix.parts.dtype:
        raise ValueError(f"x must be {matrix.parts.dtype} like the matrix, got {x.dtype}")
    return _product(x, matrix.parts, matrix.ranges, matrix.parts_t, matrix.ranges_t, matrix.rows)
