"""Music that anybody can make: drums that repeat, a bass, chords, and a voice with vibrato."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_BEAT = 0.5  # s: 120 beats a minute


def _harmonics(phase: Tensor, count: int, slope: float) -> Tensor:
    tone = torch.zeros_like(phase)
    for h in range(1, count + 1):
        tone += torch.sin(h * phase) / h**slope
    return tone


def _steps(values: list[float], seconds_each: float, samples: int, rate: int) -> Tensor:
    """Each value in turn for `seconds_each`, over and over."""
    index = torch.arange(samples) // round(seconds_each * rate) % len(values)
    return torch.tensor(values)[index]


def _phase(frequency: Tensor, rate: int) -> Tensor:
    return (2 * math.pi * torch.cumsum(frequency.double() / rate, 0) % (2 * math.pi)).float()


def synthetic_music(seconds: float, rate: int = 44100, seed: int = 0) -> Tensor:
    """A mono mixture of four synthetic sources, `(T,)` in [-1, 1].

    Args:
        seconds: duration.
        rate: in Hz.
        seed: of the drums' noise and of the melody; another seed is another song.
    """
    g = torch.Generator().manual_seed(seed)
    samples = round(seconds * rate)
    since = (torch.arange(samples) % round(_BEAT * rate)) / rate  # s since the last beat
    burst = torch.randn(round(_BEAT * rate), generator=g).repeat(samples // round(_BEAT * rate) + 1)[:samples]
    kick = torch.sin(2 * math.pi * (50 * since + 5 * (1 - torch.exp(-since / 0.03)))) * torch.exp(
        -since / 0.15
    )
    drums = burst * torch.exp(-since / 0.03) + 1.5 * kick
    bass = _harmonics(_phase(_steps([55.0, 73.4, 82.4, 55.0], 2.0, samples, rate), rate), 6, 1.0)
    chords = torch.zeros(samples)
    for notes in ([220.0, 293.7, 329.6, 220.0], [277.2, 370.0, 415.3, 261.6], [329.6, 440.0, 493.9, 329.6]):
        chords += _harmonics(_phase(_steps(notes, 2.0, samples, rate), rate), 10, 1.2)
    scale = torch.tensor([220.0, 246.9, 277.2, 329.6, 370.0, 440.0, 493.9])
    melody = scale[torch.randint(len(scale), (64,), generator=g)].tolist()
    time = torch.arange(samples) / rate
    pitch = _steps(melody, 0.7, samples, rate) * (1 + 0.015 * torch.sin(2 * math.pi * 5.5 * time))
    voice = _harmonics(_phase(pitch, rate), 20, 0.8) * (time % 2.8 < 2.1)
    mixture = 0.5 * drums + 0.3 * bass + 0.15 * chords + 0.4 * voice
    return mixture / mixture.abs().max()
