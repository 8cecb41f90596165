"""`separations.jsonl`: JSON lines, a record of each file that was separated into a folder."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from torchprim.files import append_json_lines, filter_json_lines, read_json_lines

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


def _latest(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({record["path"]: record for record in records if _is_valid(record)}.values())


def _is_valid(record: dict[str, Any]) -> bool:
    """Check that a record names a file, and a folder for its stems that lies in the output folder."""
    path, output = record.get("path"), record.get("output")
    if not (isinstance(path, str) and isinstance(output, str)):
        return False
    folder = PurePath(output)
    inside = folder.parts and not folder.is_absolute() and ".." not in folder.parts
    return bool(inside) and output.replace("\0", "/") == output
