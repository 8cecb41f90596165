"""Timings of a training step and of the remix stream."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
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
    clock = Clock(settings.device, seconds=1e9, max_repeats=settings.steps)
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


def time_stream(settings: Settings) -> Record:
    """Measure sequences a second of the remix stream alone, over whole refreshes of its store."""
    remix = _recipe(settings).remix
    clock = Clock(settings.device)
    with tempfile.TemporaryDirectory() as folder:
        songs = synthetic_bank(
            Path(folder),
            settings.songs,
            settings.song_seconds,
            settings.device,
            segment_seconds=min(30.0, settings.song_seconds),
            hop_seconds=min(15.0, settings.song_seconds),
        )
    teacher = tp.PrimitiveSeparator(settings.presets[0]).to(settings.device)
    group = remix.teacher_batch
    most_slots = (len(songs.segments) - 1) // group * group  # a store of all segments is never refreshed
    stream = tp.RemixStream(songs, teacher, dataclasses.replace(remix, slots=min(remix.slots, most_slots)))
    start = time.perf_counter()
    stream.batch(0)
    clock.synchronize()
    filling = time.perf_counter() - start
    group *= remix.every  # refresh interval in steps
    for step in range(1, group + 1):  # one refresh as the warm-up
        stream.batch(step)
    clock.synchronize()
    start = time.perf_counter()
    last = 2 * group if settings.device == "cuda" else group + 1
    for step in range(group + 1, last + 1):
        stream.batch(step)
    clock.synchronize()
    seconds = (time.perf_counter() - start) / (last - group)
    length = remix.frames * stream.geometry.hop_length / stream.geometry.sample_rate
    return {
        "batch_seconds": seconds,
        "sequences": remix.batch_size,
        "sequence_seconds": length,
        "slots": stream.store.slots,
        "filling": filling,
        "group": group,
    }
