"""Timing of calls on a device by CUDA events, launched eagerly or replayed as a CUDA graph.

A rehearsal on a machine without a GPU takes wall time instead: the same code, numbers of no meaning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from benchmarks.timing import Quantiles, quantiles

Call = Callable[..., Any]
_MAX_COPIES = 8  # of the inputs, whatever the size of the cache


def tensors_in(value: Any) -> list[Tensor]:
    """List the tensors of a result: a tensor, or nested tuples, lists and dicts of them."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for part in value for t in tensors_in(part)] if isinstance(value, (tuple, list)) else []


class Clock:
    """Times calls on one device.

    Args:
        device: of the inputs.
        seconds: approximate duration of one measurement.
        max_repeats: most repetitions; the fewest are 3.
    """

    def __init__(self, device: str | torch.device, seconds: float = 0.5, max_repeats: int = 50) -> None:
        self.device = torch.device(device)
        self.seconds, self.max_repeats = seconds, max_repeats
        self.cuda = self.device.type == "cuda"

    def synchronize(self) -> None:
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def rotated(self, inputs: Sequence[Any]) -> list[tuple]:
        """Copy the inputs until together they are four times the L2 cache: each call finds its own cold."""
        size = sum(x.numel() * x.element_size() for x in tensors_in(list(inputs)))
        cache = torch.cuda.get_device_properties(self.device).L2_cache_size if self.cuda else 0
        count = min(_MAX_COPIES, max(2, -(-4 * cache // max(1, size))))
        copies = [tuple(x.clone() if isinstance(x, Tensor) else x for x in inputs) for _ in range(count - 1)]
        return [tuple(inputs), *copies]

    def _repeats(self, call: Call, sets: list[tuple]) -> int:
        """Warm up, and return the number of repetitions."""
        for _ in range(2 if self.cuda else 1):
            call(*sets[0])
        self.synchronize()
        start = time.perf_counter()
        call(*sets[-1])
        self.synchronize()
        return max(3, min(self.max_repeats, int(self.seconds / max(1e-6, time.perf_counter() - start))))

    def eager(self, call: Call, sets: list[tuple]) -> Quantiles:
        """Time a call in seconds, launched eagerly, each time with the next copy of the inputs."""
        repeats = self._repeats(call, sets)
        if not self.cuda:
            return quantiles([self._wall(call, sets[i % len(sets)]) for i in range(repeats)])
        edges = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
        for i, (start, stop) in enumerate(edges):
            start.record()
            call(*sets[i % len(sets)])
            stop.record()
        self.synchronize()
        return quantiles([start.elapsed_time(stop) / 1e3 for start, stop in edges])

    @staticmethod
    def _wall(call: Call, inputs: tuple) -> float:
        start = time.perf_counter()
        call(*inputs)
        return time.perf_counter() - start

    def graph(
        self, call: Call, sets: list[tuple], generators: Sequence[torch.Generator] = ()
    ) -> Quantiles | None:
        """Time a call in seconds, replayed as a CUDA graph of one call for each copy of the inputs.

        Returns:
            None on a machine without a GPU.
        """
        if not self.cuda:
            return None
        current, side = torch.cuda.current_stream(self.device), torch.cuda.Stream(self.device)
        side.wait_stream(current)
        with torch.cuda.stream(side):  # a capture needs a warm-up on a side stream
            for inputs in sets:
                call(*inputs)
        current.wait_stream(side)
        self.synchronize()
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        try:
            with torch.cuda.graph(graph):
                for inputs in sets:
                    call(*inputs)
        except Exception:
            torch.cuda.set_stream(current)  # a failed capture leaves its own stream current
            raise
        try:
            replay = Clock(self.device, self.seconds, self.max_repeats).eager(graph.replay, [()])
        finally:
            graph.reset()
        return Quantiles(*(seconds / len(sets) for seconds in replay))

    def peak(self, call: Call, inputs: tuple) -> int | None:
        """Measure a call's peak memory in bytes beyond its inputs; None on a machine without a GPU."""
        call(*inputs)  # constants that it caches do not count
        if not self.cuda:
            return None
        self.synchronize()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        call(*inputs)
        self.synchronize()
        return torch.cuda.max_memory_allocated(self.device) - before


@contextmanager
def counted_launches() -> Iterator[list]:
    """Record the launches of Triton kernels in the block, an entry each; none without Triton."""
    launches: list = []
    try:
        from triton import knobs

        hooks = knobs.runtime.launch_enter_hook
    except (ImportError, AttributeError):
        yield launches
        return

    def note(*_: Any) -> None:
        launches.append(None)

    hooks.add(note)
    try:
        yield launches
    finally:
        hooks.remove(note)
