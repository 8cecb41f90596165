"""Columns of a table at the pitch of each frame, and the adjoint."""

from __future__ import annotations

from torch import Tensor


def gather_columns(table: Tensor, path: Tensor) -> Tensor:
    """Gather columns of a table: `(F, P)` at indices `(..., N)` -> `(..., F, N)`."""
    columns = table.index_select(1, path.reshape(-1)).reshape(-1, *path.shape)
    return columns.movedim(0, -2)


def add_columns(columns: Tensor, path: Tensor, count: int) -> Tensor:
    """Add columns `(..., F, N)` to a table of zeros `(F, count)`, each at its index in `(..., N)`.

    By a sort of the indices on a GPU, not by atomics: the same sum every time.
    """
    rows = columns.movedim(-2, -1).reshape(-1, columns.shape[-2])
    table = rows.new_zeros(count, rows.shape[1])
    return table.index_put_((path.reshape(-1),), rows, accumulate=True).t().contiguous()
