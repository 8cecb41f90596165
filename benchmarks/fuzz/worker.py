"""A process of its own that tries one case after another: it may hang or crash without ending the others."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

_MEMORY = 1 << 33  # bytes that a case may take: a computer that swaps would end other programs


class Worker:
    """Process that calls a function of a case, and is started anew after a hang or a crash.

    Args:
        call: function of a module, from a case to how it ended.
        limit: seconds that a case may take; the import of torch is not counted.
    """

    def __init__(self, call: Callable[[Any], str], limit: float) -> None:
        self.call, self.limit = call, limit
        self._process: multiprocessing.Process | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, case: Any) -> str:
        """Return how a case ended: what the function returned, or `hang`, or `crash`."""
        if self._process is None:
            self._start()
        self._pipe.send(case)
        try:
            if self._pipe.poll(self.limit):
                return self._pipe.recv()
            end = f"hang: over {self.limit:g} s"
        except (EOFError, ConnectionResetError):
            self._process.join()
            end = f"crash: exit status {self._process.exitcode}"
        self._stop()
        return end

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share the threads of OpenMP
        self._pipe, child = context.Pipe()
        self._process = context.Process(target=_serve, args=(child, self.call), daemon=True)
        self._process.start()
        child.close()
        self._pipe.recv()  # it has imported all

    def _stop(self) -> None:
        if self._process is not None:
            self._pipe.close()  # it ends by itself, unless it hangs
            self._process.join(1)
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(pipe: Connection, call: Callable[[Any], str]) -> None:
    """Answer with the outcome of each case, until the pipe is closed."""
    with contextlib.suppress(ImportError, ValueError):  # not on Windows; above the limit that is set
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # what libraries print of damaged files
    pipe.send("ready")
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            return
        try:
            end = call(case)
        except BaseException as error:
            end = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        pipe.send(end)
