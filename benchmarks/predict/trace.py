"""Tracing of a computation on a fake device: a row for each operation of PyTorch and each launch of Triton.

Bytes are those of the tensors, axes that are broadcast and windows that overlap counted once. A pointwise
operation whose operand lies in another order than its result reads a sector of 32 bytes an element.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from benchmarks.predict import rates
from benchmarks.predict.device import FakeDevice
from benchmarks.predict.fft import add_fft
from benchmarks.predict.ir import SECTOR, count
from benchmarks.predict.launches import Launch, recorded, to_ttir
from benchmarks.predict.ledger import Ledger
from benchmarks.predict.recurrent import counted_lstm

_NO_WORK = (
    "view", "_unsafe_view", "transpose", "t", "permute", "expand", "unsqueeze", "squeeze", "slice", "select",
    "split", "split_with_sizes", "unbind", "alias", "detach", "view_as_real", "view_as_complex", "as_strided",
    "_reshape_alias", "unfold", "lift_fresh", "lift_fresh_copy", "diagonal", "narrow", "real", "imag",
    "empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", "_conj", "resolve_conj",
    "transpose_", "squeeze_", "unsqueeze_", "t_", "as_strided_", "_local_scalar_dense",
)  # fmt: skip
_COPIES = ("clone", "copy_", "constant_pad_nd", "_to_copy")
_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")


def unique_bytes(x: Tensor) -> int:
    """Return the bytes of a tensor in memory: broadcast axes and overlapping windows once."""
    n = math.prod(size for size, stride in zip(x.shape, x.stride(), strict=True) if stride)
    return min(n * x.element_size(), x.untyped_storage().nbytes())


def innermost(x: Tensor) -> int | None:
    """Return the axis whose neighbours are neighbours in memory, from the end; None where there is none."""
    for d in range(x.dim() - 1, -1, -1):
        if x.stride(d) == 1 and x.shape[d] > 1:
            return d - x.dim()
    return None


def _same_place(a: Tensor, b: Tensor) -> bool:
    storages = (x.untyped_storage()._cdata for x in (a, b))
    places = ((x.storage_offset(), x.stride(), x.shape) for x in (a, b))
    return len(set(storages)) == 1 and len(set(places)) == 1


class Tracer(FakeDevice):
    """A fake device that books operations in a ledger.

    Args:
        ledger: where to book.
        device: as of a `FakeDevice`.
    """

    def __init__(self, ledger: Ledger, device: str = "cuda") -> None:
        super().__init__(device)
        self.ledger = ledger

    def note_host(self, func: Any) -> None:
        self.ledger.host += rates.HOST["aten"]

    def note_operator(self, name: str) -> None:
        self.ledger.host += rates.HOST["custom"]

    def note(self, func: Any, tensors: Sequence[Tensor], result: Any, args: tuple) -> None:
        self.ledger.allocate(result)
        if func.namespace != "aten":  # prim::device and the like
            return
        self.ledger.host += rates.HOST["aten"]
        name = func._schema.name.partition("::")[2]
        if name in _NO_WORK or func.is_view:
            return
        if name.startswith("_fft"):
            add_fft(self.ledger, name, args[0], list(args[1]), result)
            return
        if name == "copy_" and _same_place(args[0], args[1]):
            return
        written = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        if not written:  # in place, of many tensors
            names = zip(args, func._schema.arguments, strict=False)
            changed = [x for x, a in names if a.alias_info is not None and a.alias_info.is_write]
            written = [x for x in tree_leaves(changed) if isinstance(x, Tensor)]
        if written:
            self._add(name, tensors, written, args)

    def _add(self, name: str, tensors: Sequence[Tensor], written: Sequence[Tensor], args: tuple) -> None:
        size = sum(map(unique_bytes, written))
        read, crossed = 0, 0
        overwrites = name in ("copy_", "fill_", "zero_")
        overwrites = overwrites or name.startswith(("new_", "zeros_", "ones_", "full_"))
        for x in tensors:
            if overwrites and args and x is args[0]:
                continue
            mine = unique_bytes(x)
            gathered = name in ("index_select", "gather", "index") and x is tensors[0]
            read += min(mine, size) if gathered else mine
            if x.numel() > 1 and x.shape == written[0].shape:
                orders = {innermost(x), innermost(written[0])}
                crossed += SECTOR * x.numel() if len(orders) > 1 and None not in orders else 0
        shape = "x".join(map(str, written[0].shape))
        label = f"{name} {str(written[0].dtype).removeprefix('torch.')}[{shape}]"
        options: dict[str, Any] = {"crossed": crossed}
        if name in _PRODUCTS:
            left = tensors[-2]
            rate = rates.FLOAT32 if left.dtype == torch.float32 else rates.BFLOAT16
            options["arithmetic"] = 2 * written[0].numel() * left.shape[-1] / rate
        if name == "topk":
            read, options["launches"] = rates.TOPK_READS * read, rates.TOPK_LAUNCHES
        if name == "sort":
            read, size, options["launches"] = rates.SORT_PASSES * read, rates.SORT_PASSES * size, 8
        kind = "copy" if name in _COPIES else "aten"
        self.ledger.add(label + (" CROSSED" if crossed else ""), kind, read, size, **options)

    def note_launch(self, launch: Launch) -> None:
        """Book a launch of Triton: each of its tensors once, or what its programs load of it."""
        if launch.failure:
            raise RuntimeError(f"{launch.kernel} would fail: {launch.failure}")
        self.ledger.host += rates.HOST["triton"]
        programs = math.prod(launch.grid)
        counted = count(launch.made, launch.arguments, launch.grid, launch.warps)

        def moved(counts: dict[int, list[float]]) -> float:
            size = 0.0
            for index, (elements, gathered) in counts.items():
                x = launch.arguments[index]
                touched = (elements - gathered) * x.element_size() + gathered * SECTOR
                size += min(unique_bytes(x), programs * touched)
            return size

        busy = min(1.0, programs * launch.warps / rates.SCHEDULERS)
        issued = programs * counted.instructions / (rates.ISSUE * busy) if programs else 0.0
        seconds = max(issued, programs * counted.flops / rates.TF32) + counted.waits / rates.CLOCK
        read, written = moved(counted.loaded), moved(counted.stored)
        self.ledger.add(launch.kernel, "triton", read, written, arithmetic=seconds)


@contextmanager
def traced(device: str = "cuda") -> Iterator[Ledger]:
    """Trace what is computed on the fake device `cuda`; on `cpu` with gradients."""
    ledger = Ledger()
    tracer = Tracer(ledger, device)
    with recorded(tracer.note_launch, to_ttir), counted_lstm(ledger), tracer:
        yield ledger
