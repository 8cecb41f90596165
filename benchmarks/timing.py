"""Percentiles of repeated timings, and the peak memory of a process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Quantiles(NamedTuple):
    """20th, 50th and 80th percentile."""

    p20: float
    p50: float
    p80: float


def quantiles(values: Sequence[float]) -> Quantiles:
    """Compute the percentiles of at least two values, by linear interpolation."""
    cuts = statistics.quantiles(values, n=10, method="inclusive")
    return Quantiles(cuts[1], cuts[4], cuts[7])


def timed(call: Callable[[], object], repeats: int, warm_up: bool = True) -> Quantiles:
    """Time a call in seconds, over repetitions after a warm-up."""
    if warm_up:
        call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return quantiles(seconds)


class Usage(NamedTuple):
    """Wall time and peak resident memory of a finished process."""

    seconds: float
    peak_bytes: int


# A new process inherits its parent's peak in getrusage, so that a small child of a big parent looks big;
# Linux's VmHWM starts afresh with the program.
_PEAK = """
def peak():
    try:
        lines = open("/proc/self/status").read().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used if sys.platform == "darwin" else 1024 * used
"""


def run_child(code: str, **environment: str) -> Usage:
    """Run Python code in a process of its own.

    Args:
        code: of the process.
        environment: variables beside those of this process.

    Returns:
        wall time and peak resident memory.

    Raises:
        RuntimeError: where it fails, with the end of its output.
    """
    script = f"import sys\n{_PEAK}\n{code}\nprint(peak(), file=sys.__stdout__)"
    start = time.perf_counter()
    child = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | environment, capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    if child.returncode:
        output = (child.stdout + child.stderr).strip()
        raise RuntimeError(f"the child process failed ({child.returncode}): {output[-500:]}")
    return Usage(seconds, int(child.stdout.split()[-1]))
