"""The timed units of a run, each with a record of plain values."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

import torchprim as tp
from benchmarks.gpu import ceilings as ceiling
from benchmarks.gpu.clock import Clock, counted_launches
from benchmarks.gpu.scene import Scene, scene
from benchmarks.gpu.settings import Settings
from benchmarks.gpu.stage import Call, Stage
from benchmarks.gpu.stages import STAGES, find_stage
from benchmarks.sound import synthetic_batch
from torchprim.ensemble.find_preset import find_preset
from torchprim.kernels.dispatch import plain_torch

Record = dict[str, Any]


def _clock(settings: Settings, share: float = 1.0) -> Clock:
    return Clock(settings.device, share * settings.seconds_each)


def measure_ceilings(settings: Settings) -> Record:
    """Measure the peak rates of the device."""
    return ceiling.measure(_clock(settings))._asdict()


def floor_of(s: Scene, rates: ceiling.Ceilings, stage: Stage | None = None) -> float:
    """Return the least seconds of a stage; of the whole pipeline for None."""
    stages = [stage] if stage else [x for x in STAGES if x.in_pipeline]
    return sum(ceiling.floor(x.floor(s), rates) for x in stages)


def _time(clock: Clock, call: Call, inputs: tuple, generator: torch.Generator) -> Record:
    """Time a call eagerly and as a CUDA graph; measure its peak memory and count its kernel launches."""
    record: Record = {"peak": clock.peak(call, inputs)}
    with counted_launches() as launches:
        call(*inputs)
    record["launches"] = len(launches)
    sets = clock.rotated(inputs)
    record["eager"] = clock.eager(call, sets)
    try:
        record["graph"] = clock.graph(call, sets, [generator])
    except Exception as error:  # a call that synchronises cannot be captured
        record["graph"], record["graph_failure"] = None, f"{type(error).__name__}: {error}"[:300]
    return record


def _time_references(clock: Clock, call: Call, inputs: tuple, generator: torch.Generator) -> Record:
    """Time a call in plain torch, eagerly and, where it can be captured, as a CUDA graph."""
    sets = clock.rotated(inputs)
    with torch.no_grad(), plain_torch():
        record: Record = {"eager": clock.eager(call, sets)}
        try:
            record["graph"] = clock.graph(call, sets, [generator])
        except Exception as error:
            record |= {"graph": None, "not_captured": f"{type(error).__name__}: {error}"[:300]}
    return record


def time_stage(settings: Settings, stage: str, preset: str) -> Record:
    """Time a stage by kernels."""
    stage = find_stage(stage)
    s = scene(preset, settings.batch, settings.seconds, settings.device)
    inputs = stage.inputs(s)
    with torch.no_grad():
        record = _time(_clock(settings), lambda *x: stage.call(s, *x), inputs, s.generator)
    return record | {"whole": stage.in_pipeline}


def time_reference(settings: Settings, stage: str, preset: str) -> Record:
    """Time a stage by references."""
    stage = find_stage(stage)
    s = scene(preset, settings.batch, settings.seconds, settings.device)
    call, clock = (lambda *x: stage.call(s, *x)), _clock(settings, 0.5)
    return _time_references(clock, call, stage.inputs(s), s.generator)


def time_peer(settings: Settings, stage: str, peer: str, preset: str) -> Record:
    """Time another implementation of a stage."""
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
    """Time the whole pipeline, from audio to two stems and a confidence.

    Args:
        settings: of the run.
        preset: ensemble.
        batch: mixtures.
        seconds: length of each.
        cues: of the ensemble; all by default.
        mode: `kernels`; `float16`, the same with the cues' masks in float16; `references`; or `gradients`:
            forward and backward, from the stems to the audio.
    """
    ensemble = find_preset(preset)
    weights = {name: ensemble.weights[name] for name in cues or ensemble.weights}
    mask_dtype = torch.float16 if mode == "float16" else None
    ensemble = dataclasses.replace(ensemble, weights=weights, mask_dtype=mask_dtype)
    separator = tp.PrimitiveSeparator(ensemble).to(settings.device)
    rate = round(separator.geometry.sample_rate)
    audio = synthetic_batch(batch, seconds, rate, device=settings.device)
    generator = torch.Generator(settings.device)
    clock = _clock(settings, 1.0 if mode in ("kernels", "float16") else 0.5)

    def call(x: Tensor) -> tp.Separation:
        return separator(x, rate, generator=generator)

    def forward_backward(x: Tensor) -> Tensor:
        stems = call(x.detach().requires_grad_())
        (stems.vocals.square().sum() + stems.confidence.sum()).backward()
        return stems.vocals

    if mode == "gradients":
        peak = clock.peak(forward_backward, (audio,))
        return {"peak": peak, "eager": clock.eager(forward_backward, clock.rotated([audio]))}
    if mode == "references":
        return _time_references(clock, call, (audio,), generator)
    with torch.no_grad():
        return _time(clock, call, (audio,), generator)


def profile(settings: Settings, preset: str, batch: int, seconds: float, calls: int = 3) -> Record:
    """List the device's kernels of a call of the pipeline by their time, from torch's profiler."""
    separator = tp.PrimitiveSeparator(preset).to(settings.device)
    rate = round(separator.geometry.sample_rate)
    audio = synthetic_batch(batch, seconds, rate, device=settings.device)
    activity = torch.profiler.ProfilerActivity
    cuda = settings.device == "cuda"
    with torch.no_grad():
        separator(audio, rate)
        with torch.profiler.profile(activities=[activity.CUDA if cuda else activity.CPU]) as profiler:
            for _ in range(calls):
                separator(audio, rate)
            if cuda:
                torch.cuda.synchronize()
    rows = [
        {"name": x.key, "seconds": seconds / calls / 1e6, "launches": x.count / calls}
        for x in profiler.key_averages()
        if (seconds := x.self_device_time_total if cuda else x.self_cpu_time_total) > 0
    ]
    return {"kernels": sorted(rows, key=lambda row: -row["seconds"])}


def floors(settings: Settings, rates: ceiling.Ceilings) -> dict[str, dict[str, float]]:
    """Return preset -> stage -> least seconds; the whole pipeline under "whole"."""
    result = {}
    for preset in settings.presets:
        s = Scene(preset, settings.batch, settings.seconds, "cpu")  # for its sizes: nothing is computed
        result[preset] = {stage.name: floor_of(s, rates, stage) for stage in STAGES}
        result[preset]["whole"] = floor_of(s, rates)
    return result


def peers_of(stage: Stage, compiled: bool) -> list[str]:
    """List the peers of a stage, `torch.compile` only where `compiled`."""
    return [name for name in stage.peers if compiled or name != "torch.compile"]
