"""The pieces of a run, each with a record of plain values: one that fails costs no other."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import torchprim as tp
from benchmarks.gpu import ceilings as ceiling
from benchmarks.gpu.clock import Clock, counted_launches, tensors_in
from benchmarks.gpu.scene import Scene, scene
from benchmarks.gpu.settings import Settings
from benchmarks.gpu.stage import Stage
from benchmarks.gpu.stages import STAGES, find_stage
from benchmarks.sound import synthetic_batch
from torchprim.ensemble.presets import find_preset
from torchprim.kernels.dispatch import plain_torch

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
Record = dict[str, Any]


def _clock(settings: Settings, share: float = 1.0) -> Clock:
    return Clock(settings.device, share * settings.seconds_each)


def has_kernel(stage: Stage) -> bool:
    """Whether one of a stage's operators has a kernel in this checkout."""
    return any(list(KERNELS.rglob(f"{name}_triton.py")) for name in stage.operators)


def measure_ceilings(settings: Settings) -> Record:
    """Rates of the device."""
    return ceiling.measure(_clock(settings))._asdict()


@contextlib.contextmanager
def _poisoned():
    """Memory that a kernel should have written and did not holds NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


def _with_gradients(stage: Stage, s: Scene, inputs: tuple) -> tuple[list[Tensor], list[Tensor]]:
    """Results of a stage, and the gradients of their sum with fixed random weights."""
    s.generator.manual_seed(0)
    leaves = [x.detach().clone() for x in inputs]
    wanted = [leaves[i].requires_grad_() for i in stage.gradients if i < len(leaves)]
    results = tensors_in((stage.compared or stage.call)(s, *leaves))
    moving = [x for x in results if x.requires_grad]
    if wanted and moving:
        generator = torch.Generator(s.device).manual_seed(1)
        drawn = {"generator": generator, "device": s.device}
        weights = [torch.rand(x.shape, dtype=x.dtype, **drawn) - 0.5 for x in moving]
        torch.autograd.backward(moving, weights)
    gradients = [torch.zeros_like(x) if x.grad is None else x.grad for x in wanted]
    return [x.detach() for x in results], gradients


def difference(got: list[Tensor], expected: list[Tensor]) -> float:
    """The largest ‖got - expected‖ / ‖expected‖; of whole numbers, the share that differs."""
    worst = 0.0
    for a, b in zip(got, expected, strict=True):
        if not (b.is_floating_point() or b.is_complex()):
            error = (a != b).float().mean()
        else:
            a, b = (x.to(torch.complex128 if x.is_complex() else torch.float64) for x in (a, b))
            size = torch.linalg.vector_norm(b)
            error = torch.linalg.vector_norm(a - b) / torch.where(size > 0, size, 1)
        error = error.item()
        worst = max(worst, error) if error == error else float("nan")
        if worst != worst:
            break
    return worst


def compare(settings: Settings, stage: str, preset: str) -> Record:
    """A stage by kernels against the same by references: results and gradients."""
    stage = find_stage(stage)
    s = scene(preset, *settings.parity, settings.device)
    inputs = stage.inputs(s)
    with _poisoned(), counted_launches() as launches:
        got, gradients = _with_gradients(stage, s, inputs)
    with plain_torch():
        if stage.truth_on_cpu:
            inputs = tuple(x.cpu() for x in inputs)
        pair = _with_gradients(stage, s, inputs)
    expected, expected_gradients = ([x.to(s.device) for x in part] for part in pair)
    error, gradient_error = difference(got, expected), difference(gradients, expected_gradients)
    record: Record = {
        "error": error,
        "tolerance": stage.tolerance,
        "gradient_error": gradient_error if gradients else None,
        "gradient_tolerance": stage.slack,
        "launches": len(launches),
    }
    why = []
    if not error <= stage.tolerance:
        why.append("results differ")
    if not gradient_error <= stage.slack:
        why.append("gradients differ")
    if has_kernel(stage) and settings.device == "cuda" and not launches:
        why.append("no kernel was launched")
    return record | {"failure": ", ".join(why)}


def floor_of(s: Scene, rates: ceiling.Ceilings, stage: Stage | None = None) -> float:
    """Least seconds of a stage; None for the whole pipeline."""
    chosen = [stage] if stage else [x for x in STAGES if x.whole]
    return sum(ceiling.floor(x.floor(s), rates) for x in chosen)


def _timed(clock: Clock, call, inputs: tuple, generator: torch.Generator) -> Record:
    """Eager and as a graph, with peak memory and the launches of kernels."""
    record: Record = {"peak": clock.peak(call, inputs)}
    with counted_launches() as launches:
        call(*inputs)
    record["launches"] = len(launches)
    sets = clock.rotated(inputs)
    record["eager"] = clock.eager(call, sets)
    try:
        record["graph"] = clock.graph(call, sets, [generator])
    except Exception as error:  # a call that waits for the device cannot be captured: it says so
        record["graph"], record["graph_failure"] = None, f"{type(error).__name__}: {error}"[:300]
    return record


def _timed_without_kernels(clock: Clock, call, inputs, generator: torch.Generator) -> Record:
    """Plain torch at its best: a graph takes its launches away, too, where it can be captured."""
    sets = clock.rotated(inputs)
    with torch.no_grad(), plain_torch():
        record: Record = {"eager": clock.eager(call, sets)}
        try:
            record["graph"] = clock.graph(call, sets, [generator])
        except Exception as error:
            record |= {"graph": None, "not_captured": f"{type(error).__name__}: {error}"[:300]}
    return record


def time_stage(settings: Settings, stage: str, preset: str) -> Record:
    """Times of a stage as it is."""
    stage = find_stage(stage)
    s = scene(preset, settings.batch, settings.seconds, settings.device)
    inputs = stage.inputs(s)
    with torch.no_grad():
        record = _timed(_clock(settings), lambda *x: stage.call(s, *x), inputs, s.generator)
    return record | {"whole": stage.whole}


def time_reference(settings: Settings, stage: str, preset: str) -> Record:
    """Times of a stage without kernels."""
    stage = find_stage(stage)
    s = scene(preset, settings.batch, settings.seconds, settings.device)
    call, clock = (lambda *x: stage.call(s, *x)), _clock(settings, 0.5)
    return _timed_without_kernels(clock, call, stage.inputs(s), s.generator)


def time_peer(settings: Settings, stage: str, peer: str, preset: str) -> Record:
    """Times of a stage by other means."""
    stage = find_stage(stage)
    s = scene(preset, settings.batch, settings.seconds, settings.device)
    clock = _clock(settings, 0.5)
    try:
        with torch.no_grad():
            sets = clock.rotated(stage.inputs(s))
            return {"eager": clock.eager(lambda *x: stage.peers[peer](s, *x), sets)}
    except ImportError as error:
        return {"absent": str(error)}


def time_pipeline(
    settings: Settings,
    preset: str,
    batch: int,
    seconds: float,
    cues: list[str] | None = None,
    mode: str = "kernels",
) -> Record:
    """Audio to two stems and a confidence.

    `mode` is `kernels`, `references`, or `gradients`: with those of the stems to the audio.
    """
    ensemble = find_preset(preset)
    weights = {name: ensemble.weights[name] for name in cues or ensemble.weights}
    ensemble = dataclasses.replace(ensemble, weights=weights)
    separator = tp.PrimitiveSeparator(ensemble).to(settings.device)
    rate = round(separator.geometry.sample_rate)
    audio = synthetic_batch(batch, seconds, rate, device=settings.device)
    generator = torch.Generator(settings.device)
    clock = _clock(settings, 1.0 if mode == "kernels" else 0.5)

    def call(x: Tensor) -> tp.Separation:
        return separator(x, rate, generator=generator)

    def learn(x: Tensor) -> Tensor:
        stems = call(x.detach().requires_grad_())
        (stems.vocals.square().sum() + stems.confidence.sum()).backward()
        return stems.vocals

    if mode == "gradients":
        return {"peak": clock.peak(learn, (audio,)), "eager": clock.eager(learn, clock.rotated([audio]))}
    if mode == "references":
        return _timed_without_kernels(clock, call, [audio], generator)
    with torch.no_grad():
        return _timed(clock, call, (audio,), generator)


def floors(settings: Settings, rates: ceiling.Ceilings) -> dict[str, dict[str, float]]:
    """preset -> stage -> least seconds; the whole pipeline under "whole"."""
    result = {}
    for preset in settings.presets:
        s = Scene(preset, settings.batch, settings.seconds, "cpu")  # sizes alone: nothing is computed
        result[preset] = {stage.name: floor_of(s, rates, stage) for stage in STAGES}
        result[preset]["whole"] = floor_of(s, rates)
    return result


def peers_of(stage: Stage, compiled: bool) -> list[str]:
    return [name for name in stage.peers if compiled or name != "torch.compile"]
