"""What is predicted: a separation by a preset, a training step of the paper's network, its remix stream."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import torchprim as tp
from benchmarks.predict.ledger import Ledger
from benchmarks.predict.trace import traced
from benchmarks.sound import cache_song
from torchprim.bootstrap import remix
from torchprim.bootstrap.batch import make_batch
from torchprim.bootstrap.store import RemixStore
from torchprim.ensemble import cues
from torchprim.primitives.pitch import tracking
from torchprim.separators import base, primitive
from torchprim.spectra.mixture import Mixture
from torchprim.training import trainer
from torchprim.training.clipping import AutoClip
from torchprim.training.recipes import find_recipe

# (owner, name) of a function -> stage that its work belongs to, or a function of its first argument
Stages = dict[tuple[Any, str], str | Callable[[Any], str]]
_PRIMITIVES = {"HPSS": "HPSS mask", "FT2D": "2DFT pair"}
SEPARATION: Stages = {
    (Mixture, "spectrum"): "STFT and magnitude",
    (Mixture, "magnitude"): "STFT and magnitude",
    (cues.PrimitiveCue, "forward"): lambda cue: _PRIMITIVES.get(type(cue.primitive).__name__, "other"),
    (cues.LongHPSSCue, "full_band"): "long-window HPSS",
    (cues.LongHPSSCue, "forward"): "long-window HPSS",
    (cues.MelodyCue, "forward"): "melody: rest",
    (tracking, "log_salience"): "melody: salience",
    (tracking, "viterbi"): "melody: Viterbi",
    (tracking, "voicing_score"): "melody: voicing",
    (primitive, "assign"): "assignment",
    (primitive, "confidence_measure"): "confidence",
    (base, "masked_istft"): "iSTFT and stems",
}
STEP: Stages = {
    (trainer, "run_network"): "network",
    (trainer, "training_loss"): "loss",
    (torch.Tensor, "backward"): "backward",
    (AutoClip, "__call__"): "clipping",
    (torch.optim.Adam, "step"): "Adam",
}
STREAM: Stages = {
    (base.Separator, "forward"): "teacher",
    (RemixStore, "at"): "store",
}


@contextmanager
def _staged(ledger: Ledger, functions: Stages) -> Iterator[None]:
    """Book the work of functions under their stages."""

    def within(function: Callable, stage: str | Callable[[Any], str]) -> Callable:
        @functools.wraps(function)
        def run(*args, **kwargs):
            with ledger.within(stage if isinstance(stage, str) else stage(args[0])):
                return function(*args, **kwargs)

        return run

    with contextlib.ExitStack() as stack:
        for (owner, name), stage in functions.items():
            stack.enter_context(mock.patch.object(owner, name, within(getattr(owner, name), stage)))
        yield


def separation(preset: str, batch: int, seconds: float, mask_dtype: torch.dtype | None = None) -> Ledger:
    """Trace a separation; the constant tables are cached."""
    separator = tp.PrimitiveSeparator(preset, mask_dtype=mask_dtype)
    rate = round(separator.geometry.sample_rate)

    def separate(samples: int) -> None:
        audio = torch.empty(batch, samples, device="cuda")
        separator(audio, rate, generator=torch.Generator())

    with torch.no_grad():
        with traced():
            separate(round(seconds * rate))
        with traced() as ledger, _staged(ledger, SEPARATION):
            separate(round(seconds * rate))
    return ledger


def training_step(network: str, sequences: int, frames: int) -> Ledger:
    """Trace a step of deep clustering, with gradients: the second, as the first allocates."""
    recipe = find_recipe(network, {"batch_size": sequences, "frames": frames, "precision": "bf16"})
    with traced("cpu"):
        model = tp.build_network(network).train()
        geometry = model.config.geometry
        sources = (torch.empty(sequences, (frames - 1) * geometry.hop_length) for _ in range(2))
        batch = make_batch(*sources, geometry)
        steps = trainer.Trainer(model, recipe)
        steps.step(batch, 0)
    with traced("cpu") as ledger, _staged(ledger, STEP):
        ledger.allocate([batch, *model.parameters(), list(steps.optimiser.state.values())])
        steps.step(batch, 1)
    return ledger


def _write_songs(folder: Path, count: int, seconds: int, rate: int = 44100) -> None:
    """Write noise to a cache of decoded songs."""
    for number in range(count):
        song = 0.1 * torch.randn(1, seconds * rate, generator=torch.Generator().manual_seed(number))
        powers = torch.full((10 * seconds,), 0.01)  # of blocks of 0.1 s
        cache_song(folder, number, song, powers, rate)


def remix_batches(
    network: str, sequences: int, frames: int, preset: str = "best"
) -> tuple[Ledger, Ledger, int]:
    """Trace a batch of the remix stream, and one before which estimates of the store are refreshed.

    Labels are cached: no confidence is computed. The estimates of a refresh are the teacher's.

    Returns:
        both ledgers, and the steps from one refresh to the next.
    """
    recipe = find_recipe(network, {"batch_size": sequences, "frames": frames})
    settings = dataclasses.replace(recipe.remix, slots=2 * recipe.remix.teacher_batch)
    period = settings.every * settings.teacher_batch
    ledgers = []
    with tempfile.TemporaryDirectory() as folder:
        _write_songs(Path(folder), count=4, seconds=60)  # 12 segments: more than the store holds
        with traced():
            bank = tp.Bank.from_cache(folder, device="cuda", residence="device")
            stream = remix.RemixStream(bank, tp.PrimitiveSeparator(preset), settings)
            stream.batch(0)
        for step in (1, period):
            with traced() as ledger, _staged(ledger, STREAM):
                stream.batch(step)
            ledgers.append(ledger)
    return ledgers[0], ledgers[1], period
