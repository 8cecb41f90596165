"""Input files of `torchprim separate`, and the output folder of each one's stems."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from torchprim.audio.find import OwnOutput, find_files
from torchprim.cli.separate import FORMATS
from torchprim.cli.separate.names import fold
from torchprim.cli.separate.records import NAME
from torchprim.errors import AudioError, shown
from torchprim.sources import FOUR, TWO

STANDARD_INPUT = "-"

# What is written: no name for a folder beside them.
_FILES = {NAME, *(f"{stem}.{suffix}" for stem in {*TWO, *FOUR} for suffix in FORMATS)}


class InputFile(NamedTuple):
    """A file to separate, and its parent relative to the given folder."""

    path: Path
    parent: PurePath  # empty for a file that was given itself
    given: str = ""  # what it is a copy of: "standard input"

    @property
    def key(self) -> str:
        """Key of its record: the absolute path, or `-` for standard input."""
        return STANDARD_INPUT if self.given else os.path.abspath(self.path)

    @property
    def shown(self) -> str:
        """Its name in a message."""
        return self.given or shown(self.path)


class Gathered(NamedTuple):
    """Input files in the order given, errors of paths that gave none, and the number of results left out."""

    files: list[InputFile]
    errors: list[AudioError]
    results: int


def gather(given: Iterable[str], out: Path) -> Gathered:
    """List the input files among files and folders, each once.

    Results of earlier runs are left out, see `OwnOutput`: so `out` may lie inside the music, and a second run
    does not separate the output of the first.

    Args:
        given: files and folders.
        out: the output folder.
    """
    errors: list[AudioError] = []
    results = OwnOutput(out)
    files = [
        InputFile(path, path.relative_to(folder).parent if folder else PurePath())
        for path, folder in find_files(given, errors.append, exclude=results)
    ]
    return Gathered(files, errors, results.count)


def name_folders(files: Sequence[InputFile], known: Mapping[str, Mapping[str, Any]]) -> list[PurePath]:
    """Name a folder for the stems of each file, unique and relative to the output folder.

    The name of the file without its extension; with it where two files would share a folder, or where the
    folder belongs to another file of an earlier run, or has the name of a file that is written (such as for
    `separations.jsonl.wav`); with a number where that is not enough. A file that has a folder from an earlier
    run keeps it.

    Args:
        files: the input files.
        known: the records of the output folder.

    Example:
        >>> from pathlib import Path, PurePath
        >>> from torchprim.cli.separate.inputs import InputFile, name_folders
        >>> files = [InputFile(Path("x", name), PurePath("x")) for name in ("a.wav", "a.mp3", "b.stem.mp4")]
        >>> [str(folder) for folder in name_folders(files, {})]
        ['x/a.wav', 'x/a.mp3', 'x/b']
    """
    # A file that was moved away has no claim to its folder.
    owner = {fold(record["output"]): path for path, record in known.items() if os.path.exists(path)}
    claims = Counter(fold(file.parent / _title(file.path.name)) for file in files)
    folders = []
    for file in files:
        earlier = known.get(file.key, {}).get("output")
        if earlier is not None and PurePath(earlier).parent == file.parent:
            folders.append(PurePath(earlier))
            continue
        title, name = _title(file.path.name), file.path.name
        numbered = (f"{name}-{number}" for number in count(2))
        unique = claims[fold(file.parent / title)] == 1
        for candidate in chain([title, name] if unique else [name], numbered):
            folder = file.parent / candidate
            if candidate.casefold() in _FILES:
                continue
            if owner.setdefault(fold(folder), file.key) == file.key:
                break
        folders.append(folder)
    return folders


def _title(name: str) -> str:
    title = name[: -len(".stem.mp4")] if name.lower().endswith((".stem.mp4", ".stem.m4a")) else None
    title = os.path.splitext(name)[0] if title is None else title
    return title if title.strip(".") else name  # "..wav" must not name the folder above
