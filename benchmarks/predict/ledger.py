"""Rows of a prediction: what each operation moves and how long it takes, by stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

from benchmarks.predict import rates


class Row(NamedTuple):
    """An operation.

    Args:
        stage: that it belongs to.
        name: of the operation, with the size of its result.
        kind: `aten`, `fft`, `lstm`, `triton`, or `copy` for one that changes nothing.
        launches: of kernels.
        read: bytes.
        written: bytes.
        seconds: by chip, without gaps between launches.
    """

    stage: str
    name: str
    kind: str
    launches: int
    read: float
    written: float
    seconds: dict[str, float]


class Total(NamedTuple):
    """Sum of some rows."""

    calls: int
    launches: int
    bytes: float
    seconds: dict[str, float]


def total(rows: Iterable[Row]) -> Total:
    """Add up rows."""
    rows = list(rows)
    seconds = {chip: sum(row.seconds[chip] for row in rows) for chip in rates.CHIPS}
    return Total(
        len(rows), sum(row.launches for row in rows), sum(row.read + row.written for row in rows), seconds
    )


class Ledger:
    """All rows of a run, the time of the host, and the memory that lives.

    Attributes:
        rows: in order.
        host: seconds of the host, eager.
        peak: bytes of all living tensors on the device, at most.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.host = 0.0
        self.peak = 0
        self._stages = ["other"]
        self._living: dict[Any, tuple[StorageWeakRef, int]] = {}

    @contextmanager
    def within(self, stage: str) -> Iterator[None]:
        """Book what follows under a stage."""
        self._stages.append(stage)
        try:
            yield
        finally:
            self._stages.pop()

    def add(
        self,
        name: str,
        kind: str,
        read: float,
        written: float,
        *,
        launches: int = 1,
        crossed: float = 0.0,
        arithmetic: float = 0.0,
    ) -> None:
        """Add a row: its time is the longest of bytes, scattered sectors and arithmetic.

        Args:
            name: of the operation.
            kind: as of a `Row`.
            read: bytes.
            written: bytes.
            launches: of kernels.
            crossed: bytes of sectors of which one element is used.
            arithmetic: seconds of it, which memory overlaps.
        """
        seconds = {
            chip: max((read + written) / rate, crossed / rates.L2, arithmetic)
            for chip, rate in rates.CHIPS.items()
        }
        self.rows.append(Row(self._stages[-1], name, kind, launches, read, written, seconds))

    def allocate(self, tree: Any) -> None:
        """Take note of new tensors."""
        for x in tree_leaves(tree):
            if isinstance(x, Tensor):
                storage = x.untyped_storage()
                if storage._cdata not in self._living:
                    self._living[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        for key, (reference, _) in list(self._living.items()):
            if reference.expired():
                del self._living[key]
        self.peak = max(self.peak, sum(size for _, size in self._living.values()))
