"""From the files and folders on the command line to songs, and to the folder that each one's stems go to."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from torchprim.audio.find import find_audio
from torchprim.cli.records import NAME
from torchprim.errors import AudioError

STEM_NAMES = ("vocals", "accompaniment")
_RESULTS = frozenset(f"{stem}.{suffix}" for stem in STEM_NAMES for suffix in ("wav", "flac"))


class Song(NamedTuple):
    """A file to separate, and where it lay below the folder that was given."""

    path: Path
    parent: PurePath  # relative; empty for a file that was given by itself

    @property
    def key(self) -> str:
        """What it is known by in the records."""
        return os.path.abspath(self.path)


class Gathered(NamedTuple):
    """Songs in the order given, one error for each thing that gave none, and how many results were seen."""

    songs: list[Song]
    errors: list[AudioError]
    results: int


def gather(given: Iterable[str], out: Path, known: Mapping[str, Any]) -> Gathered:
    """Every song among files and below folders, each once.

    Results of earlier runs are left out: files named vocals or accompaniment below a folder with a
    `separations.jsonl`, which `out` or a folder below a given one may be. So `out` may lie inside the
    music, and the second run does not separate what the first one wrote.

    Args:
        given: files and folders.
        out: the output folder.
        known: the records of `out`: what was an input once is an input.
    """
    songs: dict[str, Song] = {}
    errors: list[AudioError] = []
    results = 0
    roots: dict[Path, bool] = {}
    for name in given:
        path, before = Path(name), len(errors)
        try:
            if not name or not path.exists():
                raise AudioError(name or "''", "no such file or folder")
            folder = path if path.is_dir() else None
            files = find_audio(folder, errors.append) if folder else [path]
        except (OSError, ValueError) as error:
            errors.append(AudioError(name, getattr(error, "strerror", None) or str(error)))
            continue
        except AudioError as error:
            errors.append(error)
            continue
        new = []
        for file in files:
            song = Song(file, file.relative_to(folder).parent if folder else PurePath())
            if song.key not in known and _is_result(file, folder, out, roots):
                results += 1
            else:
                new.append(song)
        if folder and not new and len(errors) == before:
            errors.append(AudioError(name, "no file of sound in this folder"))
        for song in new:
            songs.setdefault(song.key, song)
    return Gathered(list(songs.values()), errors, results)


def _is_result(file: Path, folder: Path | None, out: Path, roots: dict[Path, bool]) -> bool:
    """Whether a file is a stem that an earlier run wrote; `roots` remembers what was looked at."""
    if file.name not in _RESULTS:
        return False
    above = Path(os.path.abspath(file)).parents
    top = {Path(os.path.abspath(out)), *([Path(os.path.abspath(folder))] if folder else [])}
    # From the file up to the highest of `out` and the given folder that it lies below.
    heights = [height for height, place in enumerate(above) if place in top]
    for place in above[: max(heights, default=-1) + 1]:
        if place not in roots:
            roots[place] = (place / NAME).is_file()
        if roots[place]:
            return True
    return False


def name_folders(songs: Sequence[Song], known: Mapping[str, Mapping[str, Any]]) -> list[PurePath]:
    """A folder of its own, relative to the output folder, for the stems of each song.

    The name of the file without its extension; with it where two songs would share a folder, or where the
    folder belongs to another song of an earlier run; with a number where that is not enough. A song that
    has a folder from an earlier run keeps it.

    Args:
        songs: what to name folders for.
        known: the records of the output folder.

    Example:
        >>> from pathlib import Path, PurePath
        >>> from torchprim.cli.inputs import Song, name_folders
        >>> songs = [Song(Path("x", name), PurePath("x")) for name in ("a.wav", "a.mp3", "b.stem.mp4")]
        >>> [str(folder) for folder in name_folders(songs, {})]
        ['x/a.wav', 'x/a.mp3', 'x/b']
    """
    # A song that was moved away has no claim to its folder.
    owner = {
        _fold(PurePath(record["output"])): path for path, record in known.items() if os.path.exists(path)
    }
    wanted = Counter(_fold(song.parent / _title(song.path.name)) for song in songs)
    folders = []
    for song in songs:
        own = known.get(song.key, {}).get("output")
        if own is not None and PurePath(own).parent == song.parent:
            folders.append(PurePath(own))
            continue
        title, name = _title(song.path.name), song.path.name
        numbered = (f"{name}-{number}" for number in count(2))
        alone = wanted[_fold(song.parent / title)] == 1
        for candidate in chain([title, name] if alone else [name], numbered):
            folder = song.parent / candidate
            if owner.setdefault(_fold(folder), song.key) == song.key:
                break
        folders.append(folder)
    return folders


def _title(name: str) -> str:
    title = name[: -len(".stem.mp4")] if name.lower().endswith((".stem.mp4", ".stem.m4a")) else None
    title = os.path.splitext(name)[0] if title is None else title
    return title if title.strip(".") else name  # "..wav" must not name the folder above


def _fold(folder: PurePath) -> str:
    """What some file systems take for the same name."""
    return unicodedata.normalize("NFC", folder.as_posix()).casefold()
