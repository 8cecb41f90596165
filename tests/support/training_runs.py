"""Tiny trainings for tests: songs of a second and a half, a network of four channels."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import soundfile
import torch

ROOT = Path(__file__).parents[2]
_SETTINGS = {
    "preset": "small",
    "cues": "",  # their cost; tests/training/test_training_parts.py has them
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
RATE = 44100


def song(number, seconds=1.5):
    """A tone with vibrato over a click track: vocals, accompaniment."""
    t = torch.arange(round(seconds * RATE)) / RATE
    phase = 2 * math.pi * (200 + 40 * number) * t + 3 * torch.sin(2 * math.pi * 5 * t)
    vocals = 0.2 * sum(torch.sin(h * phase) / h for h in range(1, 6))
    noise = torch.randn(len(t), generator=torch.Generator().manual_seed(number))
    clicks = 0.4 * noise * torch.exp(-40 * (t % (0.2 + 0.01 * number)))
    return vocals, clicks


def write_music(folder, count):
    """Mixtures `0.wav`, `1.wav` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        soundfile.write(folder / f"{number}.wav", sum(song(number)).numpy(), RATE)
    return folder


def write_stems(folder, count):
    """Folders `0`, `1` and so on, with vocals and accompaniment."""
    for number in range(count):
        (folder / str(number)).mkdir(parents=True, exist_ok=True)
        for name, sound in zip(("vocals", "accompaniment"), song(number), strict=True):
            soundfile.write(folder / str(number) / f"{name}.wav", sound.numpy(), RATE)
    return folder


def curve(run):
    """The log of a run, without the times."""
    lines = (Path(run) / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def start(arguments, **environment):
    """A Python process in the root of the repository."""
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"} | environment
    return subprocess.Popen([sys.executable, *map(str, arguments)], cwd=ROOT, env=environment, **quiet)
