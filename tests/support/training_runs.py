"""Tiny training runs: songs of 1.5 s, a network of four channels."""

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch

from torchprim.cli.main import main
from torchprim.cli.train.options import add_arguments, complete
from torchprim.cli.train.settings import settings_of

ROOT = Path(__file__).parents[2]
_SETTINGS = {
    "preset": "small",
    "cues": "",  # they are slow; tests/training/test_training_parts.py tests them
    "heads": "embedding,mask",
    "layers": 1,
    "channels": 4,
    "batch-size": 2,
    "frames": 20,
    "rate": 0.01,
    "cluster-frames": 8,
    "slots": 4,
    "every": 2,
    "teacher-batch": 2,
    "validation-batches": 1,
    "precision": "fp32",
    "device": "cpu",
    "log-every": 5,
    "quietest": -60,
}
TINY = [word for name, value in _SETTINGS.items() for word in (f"--{name}", str(value))]
TINY += ["--anyway"]  # what a million steps would take is measured in one test alone
RATE = 44100


def train(arguments):
    """Run `torchprim train` in this process; return its exit status."""
    return main(["train", *map(str, arguments)])


def options_of(words):
    """Parse the options of a training; return all of them."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return complete(settings_of(parser.parse_args(list(words))))


def steps(count, check_every=4):
    """Return options of the length of a run, with all that has a state."""
    length = ["--steps", str(count), "--check-every", str(check_every)]
    return [*length, "--speed", "0.05", "--autoclip", "30"]


@contextlib.contextmanager
def limited_file_size(limit):
    """Let no file of this process grow beyond so many bytes: a disk that is full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def song(number, seconds=1.5):
    """Synthesise a tone with vibrato and a click track: vocals, accompaniment."""
    t = torch.arange(round(seconds * RATE)) / RATE
    phase = 2 * math.pi * (200 + 40 * number) * t + 3 * torch.sin(2 * math.pi * 5 * t)
    vocals = 0.2 * sum(torch.sin(h * phase) / h for h in range(1, 6))
    noise = torch.randn(len(t), generator=torch.Generator().manual_seed(number))
    clicks = 0.4 * noise * torch.exp(-40 * (t % (0.2 + 0.01 * number)))
    return vocals, clicks


def write_music(folder, count):
    """Write mixtures `0.wav`, `1.wav` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        soundfile.write(folder / f"{number}.wav", sum(song(number)).numpy(), RATE)
    return folder


def write_stems(folder, count):
    """Write stems, vocals and accompaniment, to folders `0`, `1` and so on."""
    for number in range(count):
        (folder / str(number)).mkdir(parents=True, exist_ok=True)
        for name, audio in zip(("vocals", "accompaniment"), song(number), strict=True):
            soundfile.write(folder / str(number) / f"{name}.wav", audio.numpy(), RATE)
    return folder


def curve(run):
    """Read the learning curve of a run: its log, without the times."""
    lines = (Path(run) / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def start(arguments, **environment):
    """Start a Python process in the root of the repository, with its output captured."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"} | environment
    return subprocess.Popen([sys.executable, *map(str, arguments)], cwd=ROOT, env=environment, **pipes)
