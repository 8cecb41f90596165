"""Peak rates of the device, measured in the same run: floors are computed from them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from benchmarks.gpu.clock import Clock
from torchprim.kernels.clustering.embedding_grams import full_float32


class Ceilings(NamedTuple):
    """Rates a second, and the latency of one serial step."""

    copy: float  # bytes read plus bytes written
    extrema: float  # minima and maxima of float32
    float32: float  # operations of a float32 matrix product, TF32 off
    bfloat16: float  # operations of a bf16 matrix product
    step: float  # seconds of a step that depends on the maximum over a block of the one before


class Phase(NamedTuple):
    """Least cost of a part of a stage that must end before the next can begin."""

    bytes: float = 0.0
    extrema: float = 0.0
    float32: float = 0.0
    bfloat16: float = 0.0
    steps: float = 0.0

    def seconds(self, ceilings: Ceilings) -> float:
        """Return the largest of its costs, with which a perfect kernel overlaps the others."""
        return max(
            self.bytes / ceilings.copy,
            self.extrema / ceilings.extrema,
            self.float32 / ceilings.float32,
            self.bfloat16 / ceilings.bfloat16,
            self.steps * ceilings.step,
        )


def floor(phases: list[Phase], ceilings: Ceilings) -> float:
    """Return the least seconds of a stage: the sum over its phases.

    Example:
        >>> from benchmarks.gpu.ceilings import Ceilings, Phase, floor
        >>> round(floor([Phase(bytes=4.3e9), Phase(steps=1000)], Ceilings(4.3e12, 1, 1, 1, 1e-6)), 6)
        0.002
    """
    return math.fsum(phase.seconds(ceilings) for phase in phases)


def _product(clock: Clock, size: int, dtype: torch.dtype) -> float:
    a, b = (torch.randn(size, size, device=clock.device).to(dtype) for _ in range(2))
    with full_float32():
        return 2 * size**3 / clock.eager(torch.mm, [(a, b)]).p50


def _copy(clock: Clock, size: int) -> float:
    source = torch.randn(size, device=clock.device)
    target = torch.empty_like(source)
    return 8 * size / clock.eager(target.copy_, [(source,)]).p50


def _kernels(clock: Clock) -> tuple[float, float]:
    """Measure minima and maxima a second, and the seconds of a serial step."""
    if not clock.cuda:  # a rehearsal
        a, b = (torch.rand(1 << 14) for _ in range(2))
        block = a[:512]
        return a.numel() / clock.eager(torch.maximum, [(a, b)]).p50, clock.eager(block.amax, [()]).p50
    from benchmarks.gpu import ceilings_triton as kernels

    programs = 32 * torch.cuda.get_device_properties(clock.device).multi_processor_count
    out = torch.empty(programs * kernels.BLOCK, device=clock.device)
    rounds, steps = 2000, 10_000
    parallel = clock.eager(lambda: kernels.extrema(out, rounds), [()]).p50
    serial = clock.eager(lambda: kernels.chain(out[: kernels.LANES], steps), [()]).p50
    return kernels.OPERATIONS * rounds * out.numel() / parallel, serial / steps


def measure(clock: Clock) -> Ceilings:
    """Measure all ceilings on the clock's device."""
    copy = _copy(clock, 1 << 30 if clock.cuda else 1 << 16)
    float32 = _product(clock, 4096 if clock.cuda else 64, torch.float32)
    bfloat16 = _product(clock, 8192 if clock.cuda else 64, torch.bfloat16)
    extrema, step = _kernels(clock)
    return Ceilings(copy, extrema, float32, bfloat16, step)
