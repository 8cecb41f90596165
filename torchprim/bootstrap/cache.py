"""Decoded songs on disk: one file a song, keyed by what it was made from."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from torchprim.files import replaced

_FORMAT = 1
FULL_SCALE = 32767


@dataclass(frozen=True)
class CachedSong:
    """What is known of a cached song; its samples stay on disk until they are asked for."""

    name: str
    kind: str  # what its tracks are
    length: int  # samples
    scale: float  # audio = samples * scale / 32767; above 1 only where the decoded song is
    powers: Tensor  # (blocks,) float32, see loudness.block_powers
    sample_rate: int
    file: Path

    def samples(self) -> Tensor:
        """Its tracks as (tracks, T) int16."""
        with np.load(self.file, allow_pickle=False) as held:
            return torch.from_numpy(held["samples"])


def to_int16(audio: Tensor) -> tuple[Tensor, float]:
    """Audio -> int16 samples and their scale."""
    scale = max(1.0, audio.abs().max().item())
    return (audio * (FULL_SCALE / scale)).round().to(torch.int16), scale


def to_float(samples: Tensor, scale: Tensor | float) -> Tensor:
    """int16 samples -> audio."""
    return samples.float() * (scale / FULL_SCALE)


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/torchprim/bank`, or the same under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torchprim" / "bank"


def key(paths: Sequence[Path], kind: str, sample_rate: int) -> str:
    """Name of a song's cache file: changes with the paths, sizes and times of its files, and the rate."""
    facts: list = [_FORMAT, kind, sample_rate]
    for path in paths:
        status = path.stat()
        facts += [str(path.resolve()), status.st_size, status.st_mtime_ns]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def write(
    folder: Path, name: str, title: str, kind: str, tracks: Tensor, powers: Tensor, sample_rate: int
) -> None:
    """Write a song's tracks `(tracks, T)`, whole or not at all."""
    samples, scale = to_int16(tracks)
    with replaced(folder / f"{name}.npz") as file:
        np.savez(
            file,
            name=np.array(title),
            kind=np.array(kind),
            samples=samples.numpy(),
            length=np.array(samples.shape[-1]),
            scale=np.array(scale),
            powers=powers.numpy(),
            sample_rate=np.array(sample_rate),
        )


def read(path: Path) -> CachedSong | None:
    """What a cache file holds; None where there is none, or it is damaged (it is then made anew)."""
    try:
        with np.load(path, allow_pickle=False) as held:
            return CachedSong(
                str(held["name"]),
                str(held["kind"]),
                int(held["length"]),
                float(held["scale"]),
                torch.from_numpy(held["powers"]),
                int(held["sample_rate"]),
                path,
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
