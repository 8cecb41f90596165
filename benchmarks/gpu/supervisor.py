"""A process of its own for the work: a kernel that hangs or breaks the device costs its own row only."""

from __future__ import annotations

import gc
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from typing import Any, NamedTuple

Record = dict[str, Any]
# Processes that die one after the other, without a result between them, before the rest is given up.
_MOST_DEATHS = 4


class Unit(NamedTuple):
    """A piece of work: `module:function` that takes the settings and these arguments."""

    function: str
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        """For people."""
        return " ".join([self.function.rpartition(":")[2], *map(str, self.arguments.values())])


def perform(unit: Unit, settings: Any) -> Record:
    """The record of a unit; what it raises is in it under `failure`."""
    import importlib

    if settings.deadline and time.time() > settings.deadline:
        return {"failure": "not run: the time was up"}
    module, _, function = unit.function.partition(":")
    start = time.perf_counter()
    try:
        record = getattr(importlib.import_module(module), function)(settings, **unit.arguments)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(where.filename)}:{where.lineno}"
        record = {"failure": f"{type(error).__name__} at {place}: {error}"[:500]}
    return record | {"took": time.perf_counter() - start}


def _usable(settings: Any) -> bool:
    """Whether the device still answers and captures; memory that the last unit held is given back."""
    if settings.device != "cuda":
        return True
    import torch

    try:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.synchronize()
        x, graph = torch.ones(2, device=settings.device), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            x.add_(1)
        graph.replay()
        return x.sum().item() == 4
    except Exception:
        return False


def _work(connection: Any, units: Sequence[Unit], settings: Any) -> None:
    for unit in units:
        record = perform(unit, settings)
        usable = _usable(settings)
        connection.send((record, usable))
        if not usable:
            os._exit(1)  # whatever is tidied up on the way out would fail, too
    connection.close()


def supervised(
    units: Sequence[Unit], settings: Any, limit: float, isolated: bool = True
) -> Iterator[tuple[Unit, Record]]:
    """Each unit with its record, in order.

    Units run in one process after another: when a unit takes longer than `limit` seconds, when its process
    dies, or when the device no longer answers, the rest goes on in a new one.

    Args:
        units: what to do.
        settings: given to each of them; with `device` and `deadline`.
        limit: seconds for one unit.
        isolated: False runs them in this process.
    """
    if not isolated:
        yield from ((unit, perform(unit, settings)) for unit in units)
        return
    rest, deaths = list(units), 0
    while rest:
        context = get_context("spawn")
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(sending, rest, settings), daemon=True)
        process.start()
        sending.close()
        usable = True
        while rest and usable:
            try:
                if receiving.poll(limit):
                    record, usable = receiving.recv()
                    deaths = 0
                else:
                    record, usable = {"failure": f"took more than {limit:g} s"}, False
            except EOFError:
                process.join()
                record, usable = {"failure": f"its process died, exit status {process.exitcode}"}, False
                deaths += 1
            yield rest.pop(0), record
        if rest or not usable:
            process.kill()
        process.join()
        receiving.close()
        if deaths >= _MOST_DEATHS:
            yield from ((unit, {"failure": "not run: processes die one after the other"}) for unit in rest)
            return
