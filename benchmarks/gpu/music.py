"""Music made on the device, with no decoder: batches of mixtures, and a bank of songs."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

import torchprim as tp
from torchprim.bootstrap import cache as bank_cache

_VOICE, _CHORD = 12, 6  # harmonics


def _harmonics(phase: Tensor, count: int) -> Tensor:
    return sum(torch.sin(h * phase) / h for h in range(1, count + 1))


def _phase(frequency: Tensor, rate: int) -> Tensor:
    """Of a frequency in Hz that changes; kept small, so that float32 serves the harmonics."""
    return (torch.cumsum(frequency.double() * (2 * math.pi / rate), -1) % (2 * math.pi)).float()


def music(batch: int, seconds: float, rate: int = 44100, seed: int = 0, device: str = "cpu") -> Tensor:
    """Mixtures `(batch, T)` in [-1, 1]: noise bursts in a loop, chords, and a voice with vibrato.

    Args:
        batch: number of mixtures, each another song.
        seconds: duration.
        rate: in Hz.
        seed: of all of them.
        device: where they are made.

    Example:
        >>> from benchmarks.gpu.music import music
        >>> music(2, 0.5).shape
        torch.Size([2, 22050])
    """
    generator = torch.Generator(device).manual_seed(seed)
    samples = round(seconds * rate)
    time = torch.arange(samples, device=device) / rate

    def drawn(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    beat = rate // 2
    burst = (2 * drawn(batch, beat) - 1) * torch.exp(-torch.arange(beat, device=device) / (0.03 * rate))
    drums = burst.repeat(1, samples // beat + 1)[:, :samples]
    root = 110 * 2 ** ((12 * drawn(batch, 8)).floor() / 12)  # a chord every second
    bar = (time.long() % 8)[None].expand(batch, -1)
    chords = sum(_harmonics(_phase(root.gather(1, bar) * r, rate), _CHORD) for r in (1, 1.25, 1.5))
    notes = 220 * 2 ** ((12 * drawn(batch, 16)).floor() / 12)
    note = (time / 0.7).long().remainder(16)[None].expand(batch, -1)
    vibrato = 1 + 0.015 * torch.sin(2 * math.pi * 5.5 * time)
    voice = _harmonics(_phase(notes.gather(1, note) * vibrato, rate), _VOICE) * (time % 2.8 < 2.1)
    mixture = 0.5 * drums + 0.1 * chords + 0.3 * voice
    return mixture / mixture.abs().amax(-1, keepdim=True)


def bank(folder: Path, songs: int, seconds: float, device: str, **settings) -> tp.Bank:
    """A bank of made music, through the cache that decoded songs go through.

    Loudness is that of the plain power here: its filters come with a package that the GPU may lack.
    """
    rate = 44100
    for number in range(songs):
        song = music(1, seconds, rate, number, device).cpu()
        block = round(0.1 * rate)
        powers = song[0, : song.shape[1] // block * block].unflatten(0, (-1, block)).square().mean(-1)
        bank_cache.write(folder, f"{number}", f"song {number}", "mixture", song, powers, rate)
    return tp.Bank.from_cache(folder, device=device, quietest=-70.0, **settings)
