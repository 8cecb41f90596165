"""Comparisons of kernels with their references, of each stage and of the whole pipeline."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import torchprim as tp
from benchmarks.gpu.clock import counted_launches, tensors_in
from benchmarks.gpu.scene import Scene, scene
from benchmarks.gpu.settings import Settings
from benchmarks.gpu.stage import Stage
from benchmarks.gpu.stages import find_stage
from benchmarks.sound import synthetic_batch
from torchprim.kernels.dispatch import plain_torch

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
Record = dict[str, Any]
_SLACK = 2.0


def has_kernel(stage: Stage) -> bool:
    """Check whether an operator of a stage has a kernel in this checkout."""
    return any(list(KERNELS.rglob(f"{name}_triton.py")) for name in stage.operators)


@contextlib.contextmanager
def _poisoned():
    """Fill new memory with NaN, so that an element that a kernel does not write shows."""
    before = torch.are_deterministic_algorithms_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


def _with_gradients(stage: Stage, s: Scene, inputs: tuple) -> tuple[list[Tensor], list[Tensor]]:
    """Compute the results of a stage, and the gradients of their sum with fixed random weights."""
    s.generator.manual_seed(0)
    leaves = [x.detach().clone() for x in inputs]
    differentiated = [leaves[i].requires_grad_() for i in stage.gradients if i < len(leaves)]
    results = tensors_in((stage.compared or stage.call)(s, *leaves))
    outputs = [x for x in results if x.requires_grad]
    if differentiated and outputs:
        options = {"generator": torch.Generator(s.device).manual_seed(1), "device": s.device}
        dtypes = [torch.complex64 if x.is_complex() else torch.float32 for x in outputs]
        weights = [
            torch.rand(x.shape, dtype=dtype, **options) - 0.5
            for x, dtype in zip(outputs, dtypes, strict=True)
        ]
        weights = [weight.to(x) for weight, x in zip(weights, outputs, strict=True)]
        torch.autograd.backward(outputs, weights)
    gradients = [torch.zeros_like(x) if x.grad is None else x.grad for x in differentiated]
    return [x.detach() for x in results], gradients


def difference(got: list[Tensor], expected: list[Tensor]) -> float:
    """Return the largest ‖got - expected‖ / ‖expected‖; for integers, the largest share that differs."""
    worst = 0.0
    for a, b in zip(got, expected, strict=True):
        b = b.to(a.device)
        if not (b.is_floating_point() or b.is_complex()):
            error = (a != b).float().mean()
        else:
            a, b = (x.to(torch.complex128 if x.is_complex() else torch.float64) for x in (a, b))
            norm = torch.linalg.vector_norm(b)
            error = torch.linalg.vector_norm(a - b) / torch.where(norm > 0, norm, 1)
        error = error.item()
        worst = max(worst, error) if error == error else float("nan")
        if worst != worst:
            break
    return worst


def compare(settings: Settings, stage: str, preset: str, batch: int, seconds: float) -> Record:
    """Compare a stage by kernels with the same by references, and with itself: results and gradients.

    Some gradients amplify rounding: that of a ratio of quiet bins, of a maximum between near equals. Where
    kernel and reference differ by more than the tolerance, the references run in float64, too: no kernel may
    be further from that than `_SLACK` times what float32 is.
    """
    stage = find_stage(stage)
    s = scene(preset, batch, seconds, settings.device)
    inputs = stage.inputs(s)
    with _poisoned(), counted_launches() as launches:
        got, gradients = _with_gradients(stage, s, inputs)
        again = _with_gradients(stage, s, inputs)
    repeated = all(map(_identical, [*got, *gradients], [*again[0], *again[1]]))
    del again
    with plain_torch():
        if stage.reference_on_cpu:
            inputs = tuple(x.cpu() for x in inputs)
        expected, expected_gradients = _with_gradients(stage, s, inputs)
    error, gradient_error = difference(got, expected), difference(gradients, expected_gradients)
    limits = [stage.tolerance, stage.gradient_tolerance]
    if stage.doubles and not (error <= limits[0] and gradient_error <= limits[1]):
        with plain_torch():
            exact, exact_gradients = _with_gradients(stage, s, tuple(map(_double, inputs)))
        error, gradient_error = difference(got, exact), difference(gradients, exact_gradients)
        rounding = difference(expected, exact), difference(expected_gradients, exact_gradients)
        limits = [max(limit, _SLACK * x) for limit, x in zip(limits, rounding, strict=True)]
    record: Record = {
        "error": error,
        "tolerance": limits[0],
        "gradient_error": gradient_error if gradients else None,
        "gradient_tolerance": limits[1],
        "launches": len(launches) // 2,
    }
    failures = []
    if not error <= limits[0]:
        failures.append("results differ")
    if not gradient_error <= limits[1]:
        failures.append("gradients differ")
    if has_kernel(stage) and settings.device == "cuda" and not launches:
        failures.append("no kernel was launched")
    if not repeated:
        failures.append("two runs differ")
    return record | {"failure": ", ".join(failures)}


def _double(x: Tensor) -> Tensor:
    """Convert to double precision, which takes references on every device."""
    return x.to(torch.complex128) if x.is_complex() else x.double() if x.is_floating_point() else x


def _identical(a: Tensor, b: Tensor) -> bool:
    """Check that two tensors have the same bits, NaN included."""
    return torch.equal(torch.nan_to_num(a, nan=-1.0), torch.nan_to_num(b, nan=-1.0))


def compare_pipeline(settings: Settings, preset: str, batch: int, seconds: float) -> Record:
    """Compare stems, masks and confidence of the whole pipeline by kernels with those by references."""
    separator = tp.PrimitiveSeparator(preset, n_points=None).to(settings.device)
    rate = round(separator.geometry.sample_rate)
    audio = synthetic_batch(batch, seconds, rate, device=settings.device)

    def run() -> dict[str, Tensor]:
        stems = separator(audio, rate, keep_masks=True)
        return {"vocals": stems.vocals, "mask": stems.mask, **stems.masks, "confidence": stems.confidence}

    with torch.no_grad():
        got, again = run(), run()
        with plain_torch():
            expected = run()
    errors = {name: difference([got[name]], [expected[name]]) for name in expected}
    repeated = all(_identical(got[name], again[name]) for name in got)
    return {"errors": errors, "failure": "" if repeated else "two runs differ"}
