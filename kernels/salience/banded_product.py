"""Product of a fixed matrix that is zero outside a band with many columns, in single precision."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.kernels.register import register_operator

ROWS = 64  # of a block, which has one band
UNIT = 16  # columns: granularity of a band


class Banded(NamedTuple):
    """A matrix `(P, K)` and its transpose, prepared once.

    Each is padded to whole blocks and split into the 11 leading bits of its numbers, which tensor cores
    can multiply, and the rest; `ranges` holds the non-zero columns of each block of 64 rows.
    """

    parts: Tensor  # (2, P', K')
    ranges: Tensor  # (P' / 64, 2), int32: first and end, in units of 16 columns
    parts_t: Tensor  # (2, K'', P'')
    ranges_t: Tensor
    rows: int  # P
    depth: int  # K


def _prepared(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the parts and ranges of a matrix."""
    rows, depth = (-size % block for size, block in zip(matrix.shape, (ROWS, UNIT), strict=True))
    padded = torch.nn.functional.pad(matrix, (0, depth, 0, rows))
    high = padded
    if matrix.dtype == torch.float32:
        high = (padded.view(torch.int32) & -8192).view(torch.float32)
    # By tensor operations alone, so that torch.compile can trace it.
    filled = padded.ne(0).reshape(-1, ROWS, padded.shape[1] // UNIT, UNIT).any(3).any(1).int()
    not_empty = filled.amax(1)
    ends = (filled.shape[1] - filled.flip(1).argmax(1)) * not_empty
    ranges = torch.stack([filled.argmax(1) * not_empty, ends], 1).to(torch.int32)
    return torch.stack([high, padded - high]), ranges


def banded(matrix: Tensor, device: torch.device | str) -> Banded:
    """Prepare a matrix for `banded_product`.

    Args:
        matrix: `(P, K)` on the CPU, float32 or float64.
        device: of the product.

    Raises:
        ValueError: for a matrix of another shape or dtype.

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
    tensors = (*_prepared(matrix), *_prepared(matrix.t().contiguous()))
    return Banded(*(x.to(device) for x in tensors), *matrix.shape)


def reference(
    x: Tensor, parts: Tensor, ranges: Tensor, parts_t: Tensor, ranges_t: Tensor, rows: int
) -> Tensor:
    """Multiply by the whole matrix; `ranges` are for the kernel, the transpose is for the gradient."""
    return parts.sum(0)[:rows, : x.shape[-2]] @ x


_product = register_operator(
    "banded_product",
    reference,
    kernel="banded_product_triton.forward",
    fake=lambda x, rows: x.new_empty(*x.shape[:-2], rows, x.shape[-1]),
)


def _setup_context(ctx, inputs, output):
    x, *matrix, _ = inputs
    ctx.depth = x.shape[-2]
    ctx.save_for_backward(*matrix)


def _gradient(ctx, gradient):
    """Multiply by the transpose."""
    parts, ranges, parts_t, ranges_t = ctx.saved_tensors
    return _product(gradient, parts_t, ranges_t, parts, ranges, ctx.depth), None, None, None, None, None


_product.register_autograd(_gradient, setup_context=_setup_context)


def banded_product(matrix: Banded, x: Tensor) -> Tensor:
    """Compute M x for each item of a batch in float32 accuracy, on tensor cores where there are any.

    Args:
        matrix: from `banded`, with the dtype and device of `x`.
        x: `(..., K, N)`.

    Returns:
        `(..., P, N)`. A gradient flows to `x`.

    Raises:
        ValueError: for sizes or dtypes that do not fit.

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
