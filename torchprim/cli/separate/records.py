"""`separations.jsonl`: JSON lines, a record of each file that was separated into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from torchprim.cli.separate import FORMATS
from torchprim.files import append_json_lines, filter_json_lines, read_json_lines
from torchprim.sources import TWO

NAME = "separations.jsonl"  # as in audio/find.py, which imports torch; a test compares


class Records:
    """Records of an output folder, by the absolute path of the input file.

    A killed run may leave an incomplete last line, and a file that is separated again adds a second line;
    both are removed by `open` and `tidy`, as are lines that are no record of stems in the folder. Several
    runs may write to one folder concurrently.

    Args:
        folder: the output folder, which need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / NAME
        self.by_path = {record["path"]: record for record in _latest(read_json_lines(self.path))}

    def open(self) -> None:
        """Create the folder and the file.

        Raises:
            OSError: where that is not possible.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path.open("ab").close()
        self.tidy()

    def append(self, record: dict[str, Any]) -> None:
        """Add the record of one file.

        Raises:
            OSError: where it cannot be written, such as for a full disk.
        """
        append_json_lines(self.path, [record])
        self.by_path[record["path"]] = record

    def tidy(self) -> None:
        """Remove all but the last record of each file.

        Raises:
            OSError: where the file cannot be replaced.
        """
        filter_json_lines(self.path, _latest)


def stems_of(record: Mapping[str, Any]) -> dict[str, PurePath]:
    """Return the stems that a record names, relative to its folder; those of version 0.1 had fixed names."""
    if "stems" in record:
        return {name: PurePath(path) for name, path in record["stems"].items()}
    folder, suffix = PurePath(record.get("output", "")), record.get("format", "wav")
    return {name: folder / f"{name}.{suffix}" for name in TWO}


def _latest(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last record of each file, without those whose stems another file's have replaced."""
    valid = [record for record in records if _is_valid(record)]
    owners = {path: record["path"] for record in valid for path in stems_of(record).values()}
    latest = {record["path"]: record for record in valid}.values()
    return [r for r in latest if all(owners[path] == r["path"] for path in stems_of(r).values())]


def _is_valid(record: dict[str, Any]) -> bool:
    """Check that a record names a file, and a folder for its stems that lies in the output folder."""
    stems, suffix = record.get("stems", {}), record.get("format", "wav")
    return (
        isinstance(record.get("path"), str)
        and _is_inside(record.get("output"))
        and isinstance(stems, dict)
        and all(map(_is_inside, stems.values()))
        and suffix in FORMATS
    )


def _is_inside(path: Any) -> bool:
    """Check that a path lies below the folder that it is relative to."""
    if not isinstance(path, str) or "\0" in path:
        return False
    parts = PurePath(path).parts
    return bool(parts) and not PurePath(path).is_absolute() and ".." not in parts
