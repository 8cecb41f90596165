"""Repeated timings of calls that are compared, and the memory of a process."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Quantiles(NamedTuple):
    """20th, 50th and 80th percentile."""

    p20: float
    p50: float
    p80: float


def quantiles(values: Sequence[float]) -> Quantiles:
    """Of at least two values, interpolated between them."""
    cuts = statistics.quantiles(values, n=10, method="inclusive")
    return Quantiles(cuts[1], cuts[4], cuts[7])


def timed(call: Callable[[], object], repeats: int, warm_up: bool = True) -> Quantiles:
    """Seconds of a call, over some repetitions; the first run is not counted."""
    if warm_up:
        call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return quantiles(seconds)


class Usage(NamedTuple):
    """Of a finished child process."""

    seconds: float
    peak_bytes: int


def run_child(command: Sequence[str], **environment: str) -> Usage:
    """Run a command to its end; its wall time and the most memory that it held (resident).

    Raises:
        RuntimeError: where it fails, with what it wrote.
    """
    start = time.perf_counter()
    child = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with child.stdout as pipe:
        output = pipe.read()
    _, status, usage = os.wait4(child.pid, 0)  # the usage of this child alone
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} failed ({child.returncode}): {output.strip()[-500:]}")
    return Usage(time.perf_counter() - start, usage.ru_maxrss * 1024)
