"""One thing that is compared and timed."""

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
        inputs: tensors that it reads, of a scene.
        call: scene and those tensors -> result, by the public functions.
        floor: what it must do at least.
        operators: operators whose kernels it must launch where they have one; it is compared with its
            references if there are any.
        gradients: which inputs receive one.
        tolerance: of ‖kernel - reference‖ / ‖reference‖; for whole numbers, the share that may differ.
        slack: the same for gradients.
        peers: name -> the same by other means.
        whole: a part of the whole pipeline; those add up to it.
        compared: what is compared instead of `call`, where that depends on an order that is free.
        truth_on_cpu: the reference runs on the CPU, where of equal values the first is the largest.
    """

    name: str
    inputs: Callable[[Scene], tuple[Tensor, ...]]
    call: Call
    floor: Callable[[Scene], list[Phase]]
    operators: tuple[str, ...] = ()
    gradients: tuple[int, ...] = ()
    tolerance: float = 1e-4
    slack: float = 1e-3
    peers: Mapping[str, Call] = field(default_factory=dict)
    whole: bool = False
    compared: Call | None = None
    truth_on_cpu: bool = False
