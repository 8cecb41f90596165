"""Synthetic music: drums in a loop, chords, and a voice with vibrato; a song, a batch, a bank of songs.

Published timings and the GPU benchmark's parity are of these very samples: a change of one bit is another
signal. Songs are drawn on the CPU, batches on the device where they are used.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

import torchprim as tp
from torchprim.bootstrap.banks import cache


def _harmonics(phase: Tensor, count: int, slope: float = 1.0) -> Tensor:
    """Sum sin(hφ) / h^slope over the first `count` harmonics h."""
    tone = torch.zeros_like(phase)
    for h in range(1, count + 1):
        tone += torch.sin(h * phase) / h**slope
    return tone


def _wrapped(phase: Tensor) -> Tensor:
    """Return a float64 phase modulo 2π in float32, precise enough for the harmonics."""
    return (phase % (2 * math.pi)).float()


def _vibrato(time: Tensor) -> Tensor:
    """Return the factor of a pitch that swings by 1.5 % at 5.5 Hz."""
    return 1 + 0.015 * torch.sin(2 * math.pi * 5.5 * time)


def _phrases(time: Tensor) -> Tensor:
    """Gate of the voice: it sings for three of every four notes of 0.7 s."""
    return time % 2.8 < 2.1


def _normalised(mixture: Tensor) -> Tensor:
    """Scale the peak of each item to 1."""
    return mixture / mixture.abs().amax(-1, keepdim=True)


def synthetic_music(seconds: float, rate: int = 44100, seed: int = 0) -> Tensor:
    """Draw a mono mixture of drums, bass, chords and a voice on the CPU.

    Args:
        seconds: duration.
        rate: in Hz.
        seed: of the drums' noise and of the melody.

    Returns:
        `(T,)` in [-1, 1].

    Example:
        >>> from benchmarks.sound import synthetic_music
        >>> synthetic_music(0.5).shape
        torch.Size([22050])
    """
    generator = torch.Generator().manual_seed(seed)
    samples, beat = round(seconds * rate), round(0.5 * rate)  # 120 beats a minute

    def sequence(values: list[float], seconds_each: float) -> Tensor:
        index = torch.arange(samples) // round(seconds_each * rate) % len(values)
        return torch.tensor(values)[index]

    def phase(frequency: Tensor) -> Tensor:
        return _wrapped(2 * math.pi * torch.cumsum(frequency.double() / rate, 0))

    since_beat = (torch.arange(samples) % beat) / rate  # s
    noise = torch.randn(beat, generator=generator).repeat(samples // beat + 1)[:samples]
    sweep = 50 * since_beat + 5 * (1 - torch.exp(-since_beat / 0.03))
    kick = torch.sin(2 * math.pi * sweep) * torch.exp(-since_beat / 0.15)
    drums = noise * torch.exp(-since_beat / 0.03) + 1.5 * kick
    bass = _harmonics(phase(sequence([55.0, 73.4, 82.4, 55.0], 2.0)), 6)
    chords = torch.zeros(samples)
    for notes in ([220.0, 293.7, 329.6, 220.0], [277.2, 370.0, 415.3, 261.6], [329.6, 440.0, 493.9, 329.6]):
        chords += _harmonics(phase(sequence(notes, 2.0)), 10, 1.2)
    scale = torch.tensor([220.0, 246.9, 277.2, 329.6, 370.0, 440.0, 493.9])
    melody = scale[torch.randint(len(scale), (64,), generator=generator)].tolist()
    time = torch.arange(samples) / rate
    voice = _harmonics(phase(sequence(melody, 0.7) * _vibrato(time)), 20, 0.8) * _phrases(time)
    return _normalised(0.5 * drums + 0.3 * bass + 0.15 * chords + 0.4 * voice)


def synthetic_batch(
    batch: int, seconds: float, rate: int = 44100, seed: int = 0, device: str = "cpu"
) -> Tensor:
    """Draw mixtures of noise bursts, chords and a voice, on a device.

    Args:
        batch: number of mixtures, each another song.
        seconds: duration.
        rate: in Hz.
        seed: of all of them.
        device: where they are drawn; the samples depend on its generator.

    Returns:
        `(batch, T)` in [-1, 1].

    Example:
        >>> from benchmarks.sound import synthetic_batch
        >>> synthetic_batch(2, 0.5).shape
        torch.Size([2, 22050])
    """
    generator = torch.Generator(device).manual_seed(seed)
    samples, beat = round(seconds * rate), rate // 2
    time = torch.arange(samples, device=device) / rate

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    def phase(frequency: Tensor) -> Tensor:
        return _wrapped(torch.cumsum(frequency.double() * (2 * math.pi / rate), -1))

    decay = torch.exp(-torch.arange(beat, device=device) / (0.03 * rate))
    burst = (2 * uniform(batch, beat) - 1) * decay
    drums = burst.repeat(1, samples // beat + 1)[:, :samples]
    roots = 110 * 2 ** ((12 * uniform(batch, 8)).floor() / 12)  # a chord every second
    bar = (time.long() % 8)[None].expand(batch, -1)
    chords = sum(_harmonics(phase(roots.gather(1, bar) * ratio), 6) for ratio in (1, 1.25, 1.5))
    notes = 220 * 2 ** ((12 * uniform(batch, 16)).floor() / 12)
    note = (time / 0.7).long().remainder(16)[None].expand(batch, -1)
    voice = _harmonics(phase(notes.gather(1, note) * _vibrato(time)), 12) * _phrases(time)
    return _normalised(0.5 * drums + 0.1 * chords + 0.3 * voice)


def synthetic_bank(folder: Path, songs: int, seconds: float, device: str, **settings) -> tp.Bank:
    """Build a bank of songs from `synthetic_batch`, seeds 0, 1, ..., through the cache of decoded songs.

    Loudness is that of the plain power: the K-weighting needs torchaudio, which a GPU machine may lack.

    Args:
        folder: of the cache.
        songs: number of songs.
        seconds: duration of each.
        device: of the bank.
        settings: of `Bank`.
    """
    rate = 44100
    for number in range(songs):
        song = synthetic_batch(1, seconds, rate, number, device).cpu()
        block = round(0.1 * rate)
        powers = song[0, : song.shape[1] // block * block].unflatten(0, (-1, block)).square().mean(-1)
        cache_song(folder, number, song, powers, rate)
    return tp.Bank.from_cache(folder, device=device, quietest=-70.0, **settings)


def cache_song(folder: Path, number: int, audio: Tensor, powers: Tensor, rate: int) -> None:
    """Write a song `(1, T)` to a bank's cache, with the powers of its blocks of 0.1 s."""
    samples, scale = cache.to_int16(audio)
    file = folder / f"{number}.npz"
    song = cache.CachedSong(f"song {number}", "mixture", audio.shape[-1], scale, powers, rate, file)
    cache.write(folder, file.stem, song, samples)
