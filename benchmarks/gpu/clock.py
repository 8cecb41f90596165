"""Timing of work on a device: by CUDA events, launched one by one or as one graph.

A machine without a GPU rehearses with the processor's clock: the same code, numbers of no meaning.
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
# Copies of the inputs are at most so many, whatever the cache holds.
_MOST_SETS = 8


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors of a result: a tensor, or sequences and named tuples of them."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for part in value for t in tensors_in(part)] if isinstance(value, (tuple, list)) else []


class Clock:
    """Times calls on one device.

    Args:
        device: where the inputs are.
        seconds: roughly how long one figure may take.
        most: repetitions at most; at least 3 are made.
    """

    def __init__(self, device: str | torch.device, seconds: float = 0.5, most: int = 50) -> None:
        self.device = torch.device(device)
        self.seconds, self.most = seconds, most
        self.cuda = self.device.type == "cuda"

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def rotated(self, inputs: Sequence[Any]) -> list[tuple]:
        """Copies of the inputs that together are four times the second-level cache: none is met there."""
        size = sum(x.numel() * x.element_size() for x in tensors_in(list(inputs)))
        cache = torch.cuda.get_device_properties(self.device).L2_cache_size if self.cuda else 0
        count = min(_MOST_SETS, max(2, -(-4 * cache // max(1, size))))
        copies = [tuple(x.clone() if isinstance(x, Tensor) else x for x in inputs) for _ in range(count - 1)]
        return [tuple(inputs), *copies]

    def _repeats(self, call: Call, sets: list[tuple]) -> int:
        """Warms up, and says how often to repeat."""
        for _ in range(2 if self.cuda else 1):
            call(*sets[0])
        self.wait()
        start = time.perf_counter()
        call(*sets[-1])
        self.wait()
        return max(3, min(self.most, int(self.seconds / max(1e-6, time.perf_counter() - start))))

    def eager(self, call: Call, sets: list[tuple]) -> Quantiles:
        """Seconds of a call, launched as it is written, each time with the next set of inputs."""
        repeats = self._repeats(call, sets)
        if not self.cuda:
            return quantiles([self._wall(call, sets[i % len(sets)]) for i in range(repeats)])
        edges = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
        for i, (start, stop) in enumerate(edges):
            start.record()
            call(*sets[i % len(sets)])
            stop.record()
        self.wait()
        return quantiles([start.elapsed_time(stop) / 1e3 for start, stop in edges])

    @staticmethod
    def _wall(call: Call, inputs: tuple) -> float:
        start = time.perf_counter()
        call(*inputs)
        return time.perf_counter() - start

    def graph(
        self, call: Call, sets: list[tuple], generators: Sequence[torch.Generator] = ()
    ) -> Quantiles | None:
        """Seconds of a call replayed as a CUDA graph, which holds one call for each set of inputs.

        None on a machine without a GPU.
        """
        if not self.cuda:
            return None
        usual, side = torch.cuda.current_stream(self.device), torch.cuda.Stream(self.device)
        side.wait_stream(usual)
        with torch.cuda.stream(side):  # a capture needs a warm-up on a stream that is not the default one
            for inputs in sets:
                call(*inputs)
        usual.wait_stream(side)
        self.wait()
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        try:
            with torch.cuda.graph(graph):
                for inputs in sets:
                    call(*inputs)
        except Exception:
            torch.cuda.set_stream(usual)  # a capture that fails leaves its own behind
            raise
        try:
            whole = Clock(self.device, self.seconds, self.most).eager(graph.replay, [()])
        finally:
            graph.reset()
        return Quantiles(*(seconds / len(sets) for seconds in whole))

    def peak(self, call: Call, inputs: tuple) -> int | None:
        """Bytes that a call holds at most beyond its inputs; None on a machine without a GPU."""
        call(*inputs)  # tables that are made once do not count
        if not self.cuda:
            return None
        self.wait()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        call(*inputs)
        self.wait()
        return torch.cuda.max_memory_allocated(self.device) - before


@contextmanager
def counted_launches() -> Iterator[list]:
    """The launches of Triton kernels inside: one entry each. Empty where there is no Triton."""
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
