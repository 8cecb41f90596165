"""Timings of a training step, with the remix stream and without."""

from __future__ import annotations

import dataclasses
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import torchprim as tp
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.floors import training_step
from benchmarks.gpu.settings import Settings
from benchmarks.sound import synthetic_bank, synthetic_batch
from torchprim.bootstrap.batch import RemixBatch, make_batch
from torchprim.kernels.dispatch import plain_torch
from torchprim.training.recipes import find_recipe
from torchprim.training.trainer import Trainer

Record = dict[str, Any]
_TINY = tp.NetworkConfig("tiny", layers=1, hidden=8)


def _recipe(settings: Settings):
    options = {"batch_size": settings.sequences, "frames": settings.frames}
    if not settings.network:  # a rehearsal
        options |= {"slots": 2, "every": 1, "teacher_batch": 1, "precision": "fp32"}
    return find_recipe(settings.network or "paper", options)


def _trainer(settings: Settings) -> Trainer:
    network = tp.build_network(settings.network or _TINY).to(settings.device).train()
    return Trainer(network, _recipe(settings))


def _batch(settings: Settings, geometry: tp.Geometry) -> RemixBatch:
    seconds = (settings.frames - 1) * geometry.hop_length / geometry.sample_rate
    rate = round(geometry.sample_rate)
    sources = (synthetic_batch(settings.sequences, seconds, rate, seed, settings.device) for seed in (0, 1))
    return make_batch(*sources, geometry)


def time_step(settings: Settings, mode: str = "kernels") -> Record:
    """Time steps of deep clustering on a constant batch, by kernels or by references."""
    torch.manual_seed(0)
    trainer = _trainer(settings)
    batch = _batch(settings, trainer.network.config.geometry)
    repeats = settings.steps if mode == "kernels" else 1  # of which the clock makes three at least
    clock = Clock(settings.device, seconds=1e9, max_repeats=repeats)
    number = iter(range(10**9))
    losses = []

    def step(batch: RemixBatch) -> None:
        losses.append(trainer.step(batch, next(number)))

    if mode == "references":
        with plain_torch():
            return {"eager": clock.eager(step, [(batch,)])}
    record: Record = {"peak": clock.peak(step, (batch,)), "eager": clock.eager(step, [(batch,)])}
    record |= {"first_loss": losses[0].item(), "last_loss": losses[-1].item()}
    items, bins, frames = batch.labels.shape
    record["phases"] = [tuple(phase) for phase in training_step(trainer.network, items, bins, frames)]
    failure = "" if math.isfinite(record["last_loss"]) else "the loss is not finite"
    return record | {"bfloat16": trainer.bfloat16, "failure": failure}


def _stream(settings: Settings, folder: Path) -> tp.RemixStream:
    """Return a stream of synthetic songs, whose store is too small for all segments, thus refreshed."""
    remix = _recipe(settings).remix
    songs = synthetic_bank(
        folder,
        settings.songs,
        settings.song_seconds,
        settings.device,
        segment_seconds=min(30.0, settings.song_seconds),
        hop_seconds=min(15.0, settings.song_seconds),
    )
    teacher = tp.PrimitiveSeparator(settings.presets[0]).to(settings.device)
    group = remix.teacher_batch
    slots = min(remix.slots, (len(songs.segments) - 1) // group * group)
    return tp.RemixStream(songs, teacher, dataclasses.replace(remix, slots=slots))


def _seconds_each(clock: Clock, call: Callable[[int], object], steps: range) -> float:
    """Time calls on consecutive steps, launched without a wait between them."""
    clock.synchronize()
    start = time.perf_counter()
    for step in steps:
        call(step)
    clock.synchronize()
    return (time.perf_counter() - start) / len(steps)


def time_stream(settings: Settings) -> Record:
    """Time the remix stream alone, and training steps with it and with a constant batch.

    All over whole refreshes of its store. `host_seconds` is the time in which a batch is launched.
    """
    clock = Clock(settings.device)
    with tempfile.TemporaryDirectory() as folder:
        stream = _stream(settings, Path(folder))
    trainer, remix = _trainer(settings), stream.settings
    group = remix.teacher_batch * remix.every  # refresh interval in steps
    start = time.perf_counter()
    constant = stream.batch(0)
    clock.synchronize()
    filling = time.perf_counter() - start
    spans = [range(i * group + 1, (i + 1) * group + 1) for i in range(4)]
    _seconds_each(clock, stream.batch, spans[0])  # one refresh as the warm-up
    alone = _seconds_each(clock, stream.batch, spans[1])
    host = statistics.median(
        _host_seconds(clock, lambda: stream.batch(spans[1].stop - 1)) for _ in range(3 if clock.cuda else 1)
    )
    for step in range(2):
        trainer.step(constant, step)
    plain = _seconds_each(clock, lambda step: trainer.step(constant, step), spans[2])
    whole = _seconds_each(clock, lambda step: trainer.step(stream.batch(step), step), spans[3])
    return {
        "batch_seconds": alone,
        "host_seconds": host,
        "constant_step_seconds": plain,
        "step_seconds": whole,
        "sequences": remix.batch_size,
        "sequence_seconds": remix.frames * stream.geometry.hop_length / stream.geometry.sample_rate,
        "slots": stream.store.slots,
        "filling": filling,
        "group": group,
    }


def _host_seconds(clock: Clock, call: Callable[[], object]) -> float:
    """Time a call up to its return, while the device may still compute."""
    clock.synchronize()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
