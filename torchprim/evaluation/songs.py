"""Songs with true stems for an evaluation; what cannot be used is named, and does not stop the rest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.audio.stems import find_stem_songs, read_stems
from torchprim.errors import AudioError

SOURCES = ("vocals", "accompaniment")
_STEMS = ("drums", "bass", "other")
_WORDS = {*SOURCES, *_STEMS, "mixture"}
SILENCE = 1e-5  # peak below which a stem is silent: -100 dB


class Song(NamedTuple):
    """True sources `(2, C, T)`, vocals first; the mixture is their sum."""

    name: str
    sources: Tensor
    sample_rate: float

    @property
    def mixture(self) -> Tensor:
        """`(C, T)`."""
        return self.sources.sum(0)

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.sources.shape[-1] / self.sample_rate

    @property
    def level_ratio(self) -> float:
        """Vocals to accompaniment in dB."""
        vocals, accompaniment = self.sources.double().square().sum((1, 2))
        return 10 * torch.log10(vocals / accompaniment).item()


class Found(NamedTuple):
    """What lies below some folders: songs by name, and names of folders that lack stems, with the reason."""

    songs: dict[str, Path]
    problems: dict[str, str]


def find_songs(roots: Sequence[str | os.PathLike]) -> Found:
    """Songs of MUSDB18, MUSDB18-HQ, or folders of vocals with accompaniment or mixture.

    A folder with some stems but no vocals, or with some of drums, bass and other but neither all nor an
    accompaniment, is a problem.

    Args:
        roots: folders to look in; a `.stem.mp4` may be given itself.

    Returns:
        songs and problems, each by the path below its root.

    Raises:
        AudioError: for a root that does not exist, or with no song at all.

    Example:
        >>> from torchprim.audio.find import demo_song
        >>> from torchprim.evaluation.songs import find_songs
        >>> list(find_songs([demo_song().parent]).songs)
        ['The Easton Ellises - Falcon 69']
    """
    songs: dict[str, Path] = {}
    problems: dict[str, str] = {}
    for root in map(Path, roots):
        front = f"{root.name}/" if len(roots) > 1 else ""
        for path in find_stem_songs([root]):
            reason = _lacks(path) if path.is_dir() else None
            if reason:
                problems[front + _name(path, root)] = reason
            else:
                songs[front + _name(path, root)] = path
        for folder in {path.parent for word in _WORDS for path in root.rglob(f"{word}.*")}:
            if not any(path.stem.lower() == "vocals" for path in folder.iterdir()):
                problems[front + _name(folder, root)] = "stems, but no vocals"
    return Found(dict(sorted(songs.items())), dict(sorted(problems.items())))


def _name(path: Path, root: Path) -> str:
    inside = path.relative_to(root) if path != root else Path(path.name)
    return inside.as_posix().removesuffix(".stem.mp4")


def fingerprint(path: Path) -> str:
    """Changes with the names and sizes of a song's files: results of other data are not taken for its own."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    sizes = [(file.name, file.stat().st_size) for file in files if file.is_file()]
    return hashlib.sha256(repr(sizes).encode()).hexdigest()[:12]


def _lacks(folder: Path) -> str | None:
    """What is missing where some of a song's parts are there."""
    there = {path.stem.lower() for path in folder.iterdir()}
    missing = [name for name in _STEMS if name not in there]
    if "accompaniment" in there or not missing or len(missing) == len(_STEMS):
        return None  # whole, or a matter for `read_stems`
    return f"no {' and no '.join(missing)}"


def read_song(name: str, path: Path, stereo: bool = False, device: str | torch.device = "cpu") -> Song:
    """The stems of a song on a device.

    Args:
        name: what the song is called in the results.
        path: from `find_songs`.
        stereo: the channels as they are, instead of their mean.
        device: where the song goes.

    Raises:
        AudioError: where stems are missing, silent, or do not fit one another.

    Example:
        >>> from torchprim.audio.find import demo_song
        >>> from torchprim.evaluation.songs import read_song
        >>> read_song("Falcon 69", demo_song()).sources.shape
        torch.Size([2, 1, 268288])
    """
    vocals, accompaniment, rate = read_stems(path)
    sources = torch.stack([vocals, accompaniment])
    if not stereo:
        sources = sources.mean(1, keepdim=True)
    for source, label in zip(sources, SOURCES, strict=True):
        if source.numel() == 0 or not (source - source.mean()).abs().max() > SILENCE:
            raise AudioError(path, f"the {label} is silent" if label != "vocals" else "the vocals are silent")
    return Song(name, sources.to(device), rate)
