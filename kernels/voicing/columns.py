"""Columns of a table at the pitch of each frame, and the adjoint."""

from __future__ import annotations

from torch import Tensor


def gather_columns(table: Tensor, path: Tensor) -> Tensor:
    """Gather columns of a table: `(F, P)` at indices `(..., N)` -> `(..., F, N)`."""
    columns = table.index_select(1, path.reshape(-1)).reshape(-1, *path.shape)
    return columns.movedim(0, -2)


def add_columns(columns: Tensor, path: Tensor, count: int) -> Tensor:
    """Add columns `(..., F, N)` to a table of zeros `(F, count)`, each at its index in `(..., N)`."""
    flat = columns.movedim(-2, 0).reshape(columns.shape[-2], -1)
    return flat.new_zeros(len(flat), count).index_add_(1, path.reshape(-1), flat)
