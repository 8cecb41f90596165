"""What earlier runs made of a file: nothing is done twice, and nothing is replaced without being asked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from torchprim.cli.separate.names import DEFAULT, fold, stem_path
from torchprim.cli.separate.records import stems_of
from torchprim.cli.separate.settings import Settings
from torchprim.errors import shown

if TYPE_CHECKING:
    from torchprim.cli.separate.inputs import InputFile

_NAMED = 3  # songs that a line on several names


class Task(NamedTuple):
    """A file to separate."""

    file: InputFile
    song: PurePath  # its `{song}`
    stems: dict[str, PurePath]  # to write, relative to the output folder
    replaced: list[PurePath]  # stems of an earlier run in other places or formats, to remove at the end


class Occupied(Exception):
    """Stems that another run made lie where a file's would, or beside them.

    Args:
        what: they are, such as "of preset best, not paper".
        where: one of them, relative to the output folder.
    """

    def __init__(self, what: str, where: PurePath) -> None:
        super().__init__(what, where)
        self.what, self.where = what, where


def plan(
    file: InputFile,
    song: PurePath,
    records: Mapping[str, Mapping[str, Any]],
    settings: Settings,
    overwrite: bool = False,
) -> Task | None:
    """Decide what to do with a file: nothing (None) where its stems are there, of the file as it is now.

    Args:
        file: the file.
        song: its `{song}` in the names of its stems.
        records: of the output folder, by the key of the file.
        settings: of the run.
        overwrite: whether to separate it whatever is there.

    Raises:
        Occupied: without `overwrite`, where stems of other settings or of another file are there.
        ValueError: for a stem outside the output folder.
    """
    paths = {name: stem_path(settings.template, song, name, settings.format) for name in settings.sources}
    record = records.get(file.key, {})
    before = {
        name: path for name, path in stems_of(record).items() if record and (settings.out / path).is_file()
    }
    differences = settings.differences(record) if before else ""
    moved = [path for name, path in before.items() if paths.get(name) != path]
    if not overwrite:
        if before and not differences and not moved and _is_unchanged(file, record):
            if before.keys() >= set(settings.stems):
                return None
        elif differences:
            raise Occupied(f"of {differences}", next(iter(before.values())))
        elif moved:
            raise Occupied("under other names", moved[0])
        elif before and file.given:
            raise Occupied(f"of an earlier {file.given}", next(iter(before.values())))
        _check_owners(file, [paths[name] for name in settings.stems], records, settings)
    # What the record holds stays one whole: a stem of the file as it was must not lie beside a new one.
    kept = before.keys() if not differences and not moved else ()
    stems = {name: path for name, path in paths.items() if name in settings.stems or name in kept}
    return Task(file, song, stems, [path for path in before.values() if path not in stems.values()])


def _is_unchanged(file: InputFile, record: Mapping[str, Any]) -> bool:
    try:
        status = os.stat(file.path)
    except OSError:
        return False
    return (record.get("size"), record.get("modified_ns")) == (status.st_size, status.st_mtime_ns)


def _check_owners(
    file: InputFile, paths: Sequence[PurePath], records: Mapping[str, Mapping[str, Any]], settings: Settings
) -> None:
    """Check that nothing of another file, which may have been moved away, lies where a stem of this would."""
    wanted = {fold(path): path for path in paths if (settings.out / path).exists()}
    if not wanted:
        return
    owners = {fold(path): key for key, record in records.items() for path in stems_of(record).values()}
    for place, path in wanted.items():
        owner = owners.get(place)
        if owner is None and settings.template != DEFAULT:
            raise Occupied("of no record", path)
        if owner not in (None, file.key):  # None: stems that a kill left without a record
            raise Occupied(f"of {shown(owner)}", path)


def describe_occupied(errors: Sequence[Occupied], out: Path) -> list[str]:
    """Describe what is there in one line for each kind, which names some of the places.

    Example:
        >>> from pathlib import Path, PurePath
        >>> from torchprim.cli.separate.earlier import Occupied, describe_occupied
        >>> describe_occupied([Occupied("of format wav, not flac", PurePath("a/vocals.wav"))], Path("out"))
        ['out/a/vocals.wav: is of format wav, not flac; --overwrite replaces it, another --out keeps both']
    """
    places: dict[str, list[PurePath]] = {}
    for error in errors:
        places.setdefault(error.what, []).append(error.where)
    lines = []
    for what, paths in places.items():
        if len(paths) == 1:
            text = f"{shown(out / paths[0])}: is {what}; --overwrite replaces it"
        else:
            some = ", ".join(shown(path) for path in paths[:_NAMED]) + (
                ", ..." if len(paths) > _NAMED else ""
            )
            text = (
                f"{shown(out)}: has stems {what}, for {len(paths)} songs ({some}); --overwrite replaces them"
            )
        lines.append(f"{text}, another --out keeps both")
    return lines
