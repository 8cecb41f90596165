"""Cost of drawing remixes during training, beside a constant batch and remixes read from files.

Sequences a second of the remix stream alone; training steps a second with the stream, with one constant
batch, and with the same remixes read from WAV files by a DataLoader with workers, in one run.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import soundfile
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import torchprim as tp
from benchmarks.data import data_root
from benchmarks.sound import synthetic_music
from torchprim.bootstrap.batch import RemixBatch, make_batch
from torchprim.evaluation.markdown import table
from torchprim.evaluation.provenance import processor_line, versions_line
from torchprim.spectra.stft import Geometry
from torchprim.training.recipes import find_recipe
from torchprim.training.trainer import Trainer

_SONGS = 6
_SEGMENTS = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="torch device (%(default)s)")
    parser.add_argument(
        "--preset", choices=tp.NETWORKS, default="small", help="network and recipe (%(default)s)"
    )
    parser.add_argument("--batch-size", type=int, help="sequences a batch (the preset's)")
    parser.add_argument(
        "--every", type=int, help="refresh interval of the estimate store, in steps (the preset's)"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that read files (%(default)s)")
    parser.add_argument(
        "--files", type=int, default=20, help="batches that are written to files (%(default)s)"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (%(default)s)")


class RemixFiles(Dataset):
    """Remixes as WAV files: vocals and accompaniment are the two channels."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(soundfile.read(self.paths[index], dtype="float32")[0].T.copy())


def write_remixes(folder: Path, batches: Iterator[RemixBatch], rate: int) -> list[Path]:
    """Write each sequence of the batches as a WAV file of 16 bits; return the files."""
    paths = []
    for batch in batches:
        both = torch.stack([batch.vocals, batch.accompaniment], -1)
        both = both / both.abs().amax((1, 2), keepdim=True).clamp(min=1.0)
        for audio in both.cpu().numpy():
            paths.append(folder / f"{len(paths)}.wav")
            soundfile.write(paths[-1], audio, rate)
    return paths


def from_files(
    paths: list[Path], size: int, workers: int, geometry: Geometry, device: str
) -> Iterator[RemixBatch]:
    """Yield batches for ever, read by worker processes and transformed on the device."""
    loader = DataLoader(
        RemixFiles(paths),
        size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.startswith("cuda"),
        drop_last=True,
    )
    while True:
        for audio in loader:
            vocals, accompaniment = audio.to(device, non_blocking=True).unbind(1)
            yield make_batch(vocals, accompaniment, geometry)


class Rate(NamedTuple):
    """Number of calls, and the mean time of one."""

    count: int
    seconds: float
    core_seconds: float  # CPU time of this process, which other programs do not affect


def rate_of(call: Callable[[], object], seconds: float, device: str, group: int = 1) -> Rate:
    """Time repeated calls in whole groups, for at least `seconds`, after one call as a warm-up."""

    def synchronize() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    call()
    synchronize()
    count, start, cpu_start = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        for _ in range(group):
            call()
        count += group
        synchronize()
    return Rate(count, (time.perf_counter() - start) / count, (time.process_time() - cpu_start) / count)


def _songs(folder: Path) -> tuple[list[Path], str]:
    """Return some songs, real ones where there are any, and their description."""
    paths = sorted((data_root() / "unlabelled").glob("*"))
    paths = [path for path in paths if path.suffix in (".ogg", ".mp3", ".flac", ".wav", ".m4a")][:_SONGS]
    if len(paths) > 1:
        return paths, f"{len(paths)} songs of `unlabelled`"
    for number in range(_SONGS):
        path = folder / f"song{number}.wav"
        soundfile.write(path, synthetic_music(35, seed=number).numpy(), 44100)
        paths.append(path)
    return paths, f"{_SONGS} synthetic songs of 35 s"


def run(options: argparse.Namespace) -> str:
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        return measure(options, Path(folder))


def measure(options: argparse.Namespace, folder: Path) -> str:
    """Measure all rates and return the page; files are written below `folder`."""
    device, seconds = options.device, options.seconds
    recipe = find_recipe(options.preset, {"batch_size": options.batch_size, "every": options.every})
    network = tp.build_network(options.preset).to(device).train()
    geometry = network.config.geometry
    trainer = Trainer(network, recipe)
    songs, description = _songs(folder)
    bank = tp.Bank(songs, geometry.sample_rate, device=device, cache=folder / "cache")
    teacher = tp.PrimitiveSeparator("best").to(device)
    remix = dataclasses.replace(recipe.remix, slots=min(recipe.remix.slots, _SEGMENTS), geometry=geometry)
    stream = tp.RemixStream(bank, teacher, remix)

    start = time.perf_counter()
    constant = stream.batch(0)
    filling = time.perf_counter() - start
    start = time.perf_counter()
    remixes = (stream.batch(step) for step in range(options.files))
    paths = write_remixes(folder, remixes, geometry.sample_rate)
    writing = (time.perf_counter() - start) / len(paths)
    bytes_each = sum(path.stat().st_size for path in paths) / len(paths)

    files = from_files(paths, remix.batch_size, options.workers, geometry, device)
    remix_steps, steps = itertools.count(options.files), itertools.count()
    sources: dict[str, Callable[[], RemixBatch]] = {
        "one constant batch": lambda: constant,
        "the remix stream": lambda: stream.batch(next(remix_steps)),
        f"the same remixes from WAV files, {options.workers} workers": lambda: next(files),
    }
    # Steps from one refresh of the store to the next: timings count whole groups of them.
    group = remix.every * remix.teacher_batch
    alone = rate_of(lambda: stream.batch(next(remix_steps)), seconds, device, group)
    rows, first = [], None
    for name, source in sources.items():

        def step(source: Callable[[], RemixBatch] = source) -> Tensor:
            return trainer.step(source(), next(steps))

        rate = rate_of(step, seconds, device, group if "stream" in name else 8)
        first = first or rate
        gpu = device.startswith("cuda")
        share = 1 - (first.seconds / rate.seconds if gpu else first.core_seconds / rate.core_seconds)
        times = (1 / rate.seconds, remix.batch_size / rate.seconds, 1e3 * rate.seconds)
        rows.append([name, *(f"{x:.4g}" for x in (*times, 1e3 * rate.core_seconds)), f"{share:.0%}"])
    length = remix.frames * geometry.hop_length / geometry.sample_rate
    head = ["training with", "steps/s", "sequences/s", "ms a step", "core-ms a step", "share for data"]
    processor = torch.cuda.get_device_name(device) if device.startswith("cuda") else processor_line()
    sequences = remix.batch_size / alone.seconds  # a second
    gigabytes, minutes = 20_000 * bytes_each / 1e9, 20_000 * writing / 60
    return "\n\n".join(
        [
            f"# Pipeline: preset `{options.preset}`, {remix.batch_size} sequences of {remix.frames} frames "
            f"({length:.1f} s) a batch",
            f"The stream alone makes {sequences:.1f} sequences/s, {sequences * length:.0f} times real time "
            f"({alone.count} batches; {remix.teacher_batch} segments separated anew every {group} steps). "
            f"Filling its store of {remix.slots} segments took {filling:.1f} s.",
            table(head, rows),
            "Core-ms: the processor's time in this process, of all threads; workers not counted. The share "
            "is what a step takes beyond one with a constant batch: of its time on a GPU, of its core time "
            "on a CPU, which other programs may use, too.",
            f"Files: {1e3 * writing:.0f} ms and {bytes_each / 1e6:.2f} MB a sequence, 16 bits; the paper's "
            f"20,000 are {gigabytes:.0f} GB and {minutes:.0f} minutes before the first step. They were just "
            "written, so they are read from memory, not from a disk.",
            f"Music: {description}; teacher `best`; at least {seconds:g} s a row; bf16 autocast: "
            f"{trainer.bfloat16}; torch threads {options.threads}.",
            f"{versions_line()}. {processor}.",
        ]
    )
