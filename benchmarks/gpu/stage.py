"""A stage of the pipeline, or an operator: the unit of comparisons and timings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from benchmarks.gpu.ceilings import Phase
from benchmarks.gpu.scene import Scene

Call = Callable[..., Any]


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline, or one operator of it.

    Args:
        name: in the tables.
        inputs: scene -> tensors that it reads.
        call: scene and those tensors -> result, by the public functions.
        floor: scene -> least cost of its phases.
        operators: operators whose kernels it must launch where they have one; it is compared with its
            references if there are any.
        gradients: indices of the inputs that receive a gradient.
        tolerance: of ‖kernel - reference‖ / ‖reference‖; for integers, of the share that differs.
        gradient_tolerance: the same for gradients.
        peers: name -> another implementation of `call`.
        in_pipeline: whether it is one of the parts that add up to the whole pipeline.
        compared: compared instead of `call`, where the result of that depends on an unspecified order.
        reference_on_cpu: run the reference on the CPU, where the first of equal maxima wins.
        doubles: whether it takes inputs in double precision.
    """

    name: str
    inputs: Callable[[Scene], tuple[Tensor, ...]]
    call: Call
    floor: Callable[[Scene], list[Phase]]
    operators: tuple[str, ...] = ()
    gradients: tuple[int, ...] = ()
    tolerance: float = 1e-4
    gradient_tolerance: float = 1e-3
    peers: Mapping[str, Call] = field(default_factory=dict)
    in_pipeline: bool = False
    compared: Call | None = None
    reference_on_cpu: bool = False
    doubles: bool = True
