"""Units of work in a child process: a kernel that hangs or breaks the device costs its own row only."""

from __future__ import annotations

import gc
import os
import queue
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from typing import Any, NamedTuple

Record = dict[str, Any]
# Consecutive deaths of a process, without a result between them, before the remaining units are given up.
_MAX_DEATHS = 4


class Unit(NamedTuple):
    """A unit of work: `module:function`, called with the settings and these arguments."""

    function: str
    arguments: dict[str, Any]
    role: str = ""  # in the page

    @property
    def name(self) -> str:
        """Function and arguments, for messages."""
        return " ".join([self.function.rpartition(":")[2], *map(str, self.arguments.values())])


def perform(unit: Unit, settings: Any) -> Record:
    """Run a unit and return its record, with an exception as `failure` and the deadline as `skipped`."""
    import importlib

    if settings.deadline and time.time() > settings.deadline:
        return {"skipped": "the time was up"}
    module, _, function = unit.function.partition(":")
    start = time.perf_counter()
    try:
        record = getattr(importlib.import_module(module), function)(settings, **unit.arguments)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        line = f"{os.path.basename(frame.filename)}:{frame.lineno}"
        record = {"failure": f"{type(error).__name__} at {line}: {error}"[:500]}
    return record | {"took": time.perf_counter() - start}


def _usable(settings: Any) -> bool:
    """Check that the device still computes and captures; free the memory of the last unit."""
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
            os._exit(1)  # cleaning up at exit would fail, too
    connection.close()


def supervised(
    units: Sequence[Unit], settings: Any, limit: float, isolated: bool = True
) -> Iterator[tuple[Unit, Record]]:
    """Run units in a child process; yield each with its record, in order.

    When a unit takes longer than `limit` seconds, when the process dies, or when the device no longer
    answers, the remaining units run in a new process.

    Args:
        units: to run.
        settings: passed to each of them; with `device` and `deadline`.
        limit: timeout of a unit in seconds.
        isolated: False runs them in this process.
    """
    if not isolated:
        yield from ((unit, perform(unit, settings)) for unit in units)
        return
    remaining, deaths = list(units), 0
    while remaining:
        context = get_context("spawn")
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(sending, remaining, settings), daemon=True)
        process.start()
        sending.close()
        usable = True
        while remaining and usable:
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
            yield remaining.pop(0), record
        if remaining or not usable:
            process.kill()
        process.join()
        receiving.close()
        if deaths >= _MAX_DEATHS:
            failure = "not run: processes die one after the other"
            yield from ((unit, {"failure": failure}) for unit in remaining)
            return


def side_by_side(
    units: Sequence[Unit], settings: Any, limit: float, workers: int
) -> Iterator[tuple[Unit, Record]]:
    """Run units as `supervised` does, in several processes at once; yield each when it is done.

    Args:
        units: to run; nothing that is timed.
        settings: as in `supervised`.
        limit: timeout of a unit in seconds.
        workers: processes; 1 keeps the order.
    """
    done: queue.Queue[tuple[Unit, Record]] = queue.Queue()

    def work(share: Sequence[Unit]) -> None:
        for result in supervised(share, settings, limit):
            done.put(result)

    for first in range(min(workers, len(units))):
        threading.Thread(target=work, args=(units[first::workers],), daemon=True).start()
    for _ in units:
        yield done.get()
