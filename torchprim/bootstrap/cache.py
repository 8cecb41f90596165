"""Cache of decoded songs: one `.npz` file a song, its key a hash of the files that it was decoded from."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from torchprim.audio.loudness import block_powers
from torchprim.audio.resampling import resample
from torchprim.errors import AudioError
from torchprim.files import replaced

_FORMAT = 1
FULL_SCALE = 32767


@dataclass(frozen=True)
class CachedSong:
    """Metadata of a cached song; its samples are read from disk on request."""

    name: str
    kind: str  # of its tracks: `Bank.kind`
    length: int  # samples
    scale: float  # audio = samples * scale / 32767; above 1 only where the decoded song is
    powers: Tensor  # (blocks,) float32, see loudness.block_powers
    sample_rate: int
    file: Path

    def samples(self) -> Tensor:
        """Read the tracks `(tracks, T)`, int16."""
        with np.load(self.file, allow_pickle=False) as archive:
            return torch.from_numpy(archive["samples"])


def to_int16(audio: Tensor) -> tuple[Tensor, float]:
    """Quantise audio to int16; return samples and scale."""
    scale = max(1.0, audio.abs().max().item())
    return (audio * (FULL_SCALE / scale)).round().to(torch.int16), scale


def to_float(samples: Tensor, scale: Tensor | float) -> Tensor:
    """Dequantise int16 samples to float32 audio."""
    return samples.float() * (scale / FULL_SCALE)


def default_folder() -> Path:
    """Return `$XDG_CACHE_HOME/torchprim/bank`, or the same under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torchprim" / "bank"


def cache_key(paths: Sequence[Path], kind: str, sample_rate: int) -> str:
    """Hash the paths, sizes and modification times of a song's files, the type of its tracks and the rate."""
    facts: list = [_FORMAT, kind, sample_rate]
    for path in paths:
        status = path.stat()
        facts += [str(path.resolve()), status.st_size, status.st_mtime_ns]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def write(
    folder: Path, key: str, name: str, kind: str, tracks: Tensor, powers: Tensor, sample_rate: int
) -> None:
    """Write a song's tracks `(tracks, T)` to the cache, whole or not at all."""
    samples, scale = to_int16(tracks)
    with replaced(folder / f"{key}.npz") as file:
        np.savez(
            file,
            name=np.array(name),
            kind=np.array(kind),
            samples=samples.numpy(),
            length=np.array(samples.shape[-1]),
            scale=np.array(scale),
            powers=powers.numpy(),
            sample_rate=np.array(sample_rate),
        )


def read(path: Path) -> CachedSong | None:
    """Read the metadata of a cache file; None where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return CachedSong(
                str(archive["name"]),
                str(archive["kind"]),
                int(archive["length"]),
                float(archive["scale"]),
                torch.from_numpy(archive["powers"]),
                int(archive["sample_rate"]),
                path,
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def read_all(folder: str | os.PathLike[str], kind: str, sample_rate: int) -> list[CachedSong]:
    """Read every cached song of one type, sorted by name.

    Raises:
        AudioError: for a folder without such songs, or with some at another sample rate.
    """
    songs = [song for song in map(read, sorted(Path(folder).glob("*.npz"))) if song and song.kind == kind]
    if not songs:
        raise AudioError(folder, "no cached songs")
    other_rates = {song.sample_rate for song in songs} - {sample_rate}
    if other_rates:
        raise AudioError(folder, f"songs cached at {min(other_rates)} Hz, not {sample_rate}")
    return sorted(songs, key=lambda song: song.name)


def read_or_decode(
    path: Path, folder: Path, kind: str, sample_rate: int, decode: Callable[[Path], tuple[Tensor, float]]
) -> CachedSong:
    """Read a song from the cache; a missing or damaged entry is first decoded and written.

    Args:
        path: of the song: a file, or a folder of stems.
        folder: of the cache.
        kind: type of the song's tracks.
        sample_rate: in Hz, of the cached samples.
        decode: returns the tracks `(tracks, T)` of a path, and their rate in Hz.

    Raises:
        AudioError: for a song that cannot be decoded, or whose cache file cannot be read.
        OSError: where the cache file cannot be written.
        ImportError: without a library that decoding needs.
    """
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
    key = cache_key(files, kind, sample_rate)
    file = folder / f"{key}.npz"
    song = read(file)
    if song is None:
        tracks, rate = decode(path)
        tracks = resample(tracks, rate, sample_rate)
        powers = block_powers(tracks.sum(0), sample_rate)
        write(folder, key, str(path), kind, tracks, powers, sample_rate)
        song = read(file)
    if song is None:
        raise AudioError(path, f"its cache file {file} cannot be read")
    return song
