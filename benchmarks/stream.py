"""Host time of a batch of remixes: what the processor spends while the device computes; and rate on a CPU.

On CPU tensors of a few samples there is little but this overhead. On fake CUDA tensors, which need no GPU, a
batch of full size runs through the same operations as on one: their number, their copies between host and
device, and those that wait for the device are counted. Fake tensors cost several times a launch. Batches of
full size on the processor give the rate of two sources and four, mono and stereo.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import torchprim as tp
from benchmarks.timing import Quantiles, timed
from torchprim.bootstrap.banks.segments import Segment
from torchprim.evaluation.markdown import table
from torchprim.evaluation.provenance import processor_line, versions_line
from torchprim.sources import FOUR, TWO

# Settings beside the defaults. A change of speed is left out: its filters are made on first use of each.
ROWS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "half of the pairs coherent": {"coherent": 0.5},
    "a pool of 20,000": {"pool": 20_000},
    "weights of bins": {"bin_confidence": True},
    "equaliser, 3 dB": {"eq": 3.0},
}
# Number of sources and of channels -> what they are called.
KINDS = {
    (2, 1): "two sources, mono",
    (2, 2): "two sources, stereo",
    (4, 1): "four sources, mono",
    (4, 2): "four sources, stereo",
}
_FEW_SAMPLES = tp.Geometry(44100, 16, 4)
_ON_CPU = 8  # sequences of a batch that is timed on the processor
_WAITS = ("_local_scalar_dense", "nonzero", "unique", "masked_select", "equal.default")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch-size", type=int, default=128, help="sequences a batch (%(default)s)")
    parser.add_argument("--frames", type=int, default=400, help="of a sequence (%(default)s)")
    parser.add_argument("--slots", type=int, default=128, help="segments in the store (%(default)s)")
    parser.add_argument("--repeats", type=int, default=100, help="batches that are timed (%(default)s)")


class NoMusic:
    """A bank of equal segments of noise, made where they are used."""

    sample_rate = 44100

    @property
    def teacher_options(self) -> dict[str, bool]:
        return {}

    def __init__(self, device: str, segments: int, length: int, channels: int = 1) -> None:
        self.device, self.length, self.channels = device, length, channels
        self.names = [f"song {i}" for i in range(8)]
        self.segments = [Segment(i % 8, 0, length, -20.0) for i in range(segments)]

    def batches(self, batch_size: int, indices: Sequence[int]) -> Iterator[Sequence[int]]:
        yield from (indices[i : i + batch_size] for i in range(0, len(indices), batch_size))

    def audio(self, indices: Sequence[int]) -> Tensor:
        channels = (self.channels,) if self.channels > 1 else ()
        return torch.randn(len(indices), *channels, self.length, device=self.device)


class NoTeacher(torch.nn.Module):
    """A teacher that separates nothing."""

    def __init__(self, geometry: tp.Geometry, sources: int = 2) -> None:
        super().__init__()
        self.geometry = geometry
        self.sources = {2: TWO, 4: FOUR}[sources]

    def forward(self, audio: Tensor, sample_rate: float, keep_masks: bool | None = None) -> SimpleNamespace:
        mask = audio.new_zeros(len(audio), self.geometry.bins, self.geometry.frames(audio.shape[-1]))
        return SimpleNamespace(
            vocals=audio, accompaniment=audio, stems=dict.fromkeys(self.sources, audio), mask=mask
        )


def noise_stream(
    device: str, geometry: tp.Geometry, seconds: float, sources: int = 2, channels: int = 1, **settings: Any
) -> tp.RemixStream:
    """Return a stream of remixes of noise, whose store is never refreshed."""
    length = round(seconds * geometry.sample_rate)
    bank = NoMusic(device, settings["slots"] + 4, length, channels)
    options = {"geometry": geometry, "every": 10**9, **settings}
    return tp.RemixStream(bank, NoTeacher(geometry, sources), **options)


class Counts(TorchDispatchMode):
    """Counts operations, those between host and device, and those that wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.copies = self.waits = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.namespace == "prim":  # questions about the device
            return result
        self.operations += 1
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor) and x.dim()]
        self.copies += len({x.device.type for x in tensors}) > 1
        self.waits += any(name in str(func) for name in _WAITS)
        return result


@contextmanager
def fake_device() -> Iterator[None]:
    """Make tensors of the block fake; there is no device to page-lock memory for."""
    pin_memory = torch.Tensor.pin_memory
    torch.Tensor.pin_memory = lambda self: self
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        torch.Tensor.pin_memory = pin_memory


def on_few_samples(repeats: int, **settings: Any) -> Quantiles:
    """Time batches of 3 frames of 16 samples on the CPU, in seconds."""
    stream = noise_stream("cpu", _FEW_SAMPLES, 0.02, **settings | {"frames": 3})
    steps = count()
    return timed(lambda: stream.batch(next(steps)), repeats)


def on_a_fake_device(repeats: int, **settings: Any) -> tuple[Quantiles, Counts]:
    """Time batches on fake CUDA tensors, in seconds, and count the operations of one."""
    with fake_device():
        stream = noise_stream("cuda", tp.Geometry(), 30.0, **settings)
        steps = count()
        times = timed(lambda: stream.batch(next(steps)), repeats)
        with Counts() as counts:
            stream.batch(next(steps))
    return times, counts


def on_a_processor(repeats: int, **settings: Any) -> Quantiles:
    """Time batches of full size on the CPU, in seconds."""
    stream = noise_stream("cpu", tp.Geometry(), 10.0, **settings)
    steps = count()
    return timed(lambda: stream.batch(next(steps)), repeats)


def rates(repeats: int, batch_size: int, frames: int) -> str:
    """Return the table of the rates of two sources and four, mono and stereo."""
    geometry = tp.Geometry()
    seconds = batch_size * frames * geometry.hop_length / geometry.sample_rate  # of a batch
    sizes = {"batch_size": batch_size, "frames": frames, "slots": 8}
    rows = []
    for (sources, channels), name in KINDS.items():
        time = on_a_processor(repeats, sources=sources, channels=channels, **sizes).p50
        rows.append([name, f"{1e3 * time:.0f}", f"{batch_size / time:.0f}", f"{seconds / time:.0f}"])
    return table(["stream", "ms a batch", "sequences/s", "times real time"], rows)


def run(options: argparse.Namespace) -> str:
    torch.set_num_threads(1)
    sizes = {"batch_size": options.batch_size, "frames": options.frames, "slots": options.slots}
    rows = []
    for name, changes in ROWS.items():
        small = on_few_samples(options.repeats, **sizes | changes)
        large, counts = on_a_fake_device(max(2, options.repeats // 10), **sizes | changes)
        times = (f"{1e3 * x:.2f}" for x in (*small, large.p50))
        rows.append([name, *times, f"{counts.operations}", f"{counts.copies}", f"{counts.waits}"])
    head = [
        "settings",
        "p20",
        "host ms a batch",
        "p80",
        "on fake CUDA tensors",
        "operations",
        "copies",
        "waits",
    ]
    return "\n\n".join(
        [
            f"# Remix stream: host time of {options.batch_size} sequences of {options.frames} frames",
            table(head, rows),
            "Host ms: on CPU tensors of a few samples, one thread. Operations, of which views launch none, "
            "copies between host and device, and operations that wait for the device: of a full batch "
            f"on fake CUDA tensors, cut from a store of {options.slots} segments of 30 s. Refreshing the "
            "store is not counted: it calls the teacher.",
            f"On this processor, one thread, {_ON_CPU} sequences of {options.frames} frames a batch:",
            rates(max(3, options.repeats // 10), _ON_CPU, options.frames),
            f"{versions_line('numpy')}. {processor_line()}.",
        ]
    )
