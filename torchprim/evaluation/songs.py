"""Songs with true stems for an evaluation; a song that cannot be used is named and left out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.audio.downmix import downmix
from torchprim.audio.stems import find_incomplete_songs, find_stem_songs, read_stems
from torchprim.errors import AudioError
from torchprim.sources import TWO, silent

SILENCE = 1e-5  # peak of a silent stem: -100 dB


class Song(NamedTuple):
    """True sources `(S, C, T)` in the order of their names; the mixture is their sum.

    Example:
        >>> import torch
        >>> from torchprim.evaluation.songs import Song
        >>> song = Song("noise", torch.ones(2, 1, 44100), 44100)
        >>> song.mixture.shape, song.seconds, song.level_ratio
        (torch.Size([1, 44100]), 1.0, 0.0)
    """

    name: str
    sources: Tensor
    sample_rate: float
    names: tuple[str, ...] = TWO

    @property
    def vocals(self) -> Tensor:
        """`(C, T)`."""
        return self.sources[self.names.index("vocals")]

    @property
    def accompaniment(self) -> Tensor:
        """`(C, T)`."""
        return self.sources[self.names.index("accompaniment")]

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
        """Energy of the vocals over that of the accompaniment, in dB; of two sources."""
        vocals, accompaniment = checks.double(self.sources).square().sum((1, 2))
        return 10 * torch.log10(vocals / accompaniment).item()

    def to_mono(self) -> Song:
        """Return the song with its channels mixed to one, C = 1, all sources alike: see `downmix`."""
        return self._replace(sources=downmix(self.sources, like=self.mixture)[:, None])


class SongIndex(NamedTuple):
    """Paths of songs by name, and the reasons why other folders with stems are left out, by name."""

    songs: dict[str, Path]
    problems: dict[str, str]


def find_songs(roots: Sequence[str | os.PathLike[str]], sources: Sequence[str] = TWO) -> SongIndex:
    """Index the songs below folders: MUSDB18, MUSDB18-HQ, or folders with a file of each source.

    Of vocals and accompaniment a folder may also have vocals with a mixture or with drums, bass and other. A
    folder with stems, but without all that are needed, is a problem.

    Args:
        roots: folders to search; a `.stem.mp4` may be given itself.
        sources: names of the stems.

    Returns:
        songs and problems, named by the path below their root.

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
        prefix = f"{root.name}/" if len(roots) > 1 else ""
        incomplete = find_incomplete_songs(root, sources)
        problems |= {prefix + _name(folder, root): reason for folder, reason in incomplete.items()}
        complete = [path for path in find_stem_songs([root], sources) if path not in incomplete]
        songs |= {prefix + _name(path, root): path for path in complete}
    return SongIndex(dict(sorted(songs.items())), dict(sorted(problems.items())))


def _name(path: Path, root: Path) -> str:
    relative = path.relative_to(root) if path != root else Path(path.name)
    return relative.as_posix().removesuffix(".stem.mp4")


def fingerprint(path: Path) -> str:
    """Hash the names and sizes of a song's files, for the cache key of its results."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    sizes = [(file.name, file.stat().st_size) for file in files if file.is_file()]
    return hashlib.sha256(repr(sizes).encode()).hexdigest()[:12]


def read_song(
    name: str, path: Path, device: str | torch.device = "cpu", sources: Sequence[str] = TWO
) -> Song:
    """Read the stems of a song, with their channels, onto a device.

    Args:
        name: of the song in the results.
        path: from `find_songs`.
        device: of the tensors.
        sources: names of the stems, in their order in the song.

    Raises:
        AudioError: where stems are missing, silent, or do not fit one another.

    Example:
        >>> from torchprim.audio.find import demo_song
        >>> from torchprim.evaluation.songs import read_song
        >>> read_song("Falcon 69", demo_song()).sources.shape
        torch.Size([2, 2, 268288])
    """
    song = Song(name, *read_stems(path, sources), tuple(sources))
    for source, label in zip(song.to_mono().sources, song.names, strict=True):
        if source.numel() == 0 or not (source - source.mean()).abs().max() > SILENCE:
            raise AudioError(path, silent(label))
    return song._replace(sources=song.sources.to(device))
