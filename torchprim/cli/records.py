"""`separations.jsonl`: one line of JSON for each file that was separated into a folder."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAME = "separations.jsonl"


class Records:
    """The records of an output folder, by the absolute path of the file they are about.

    A killed run may leave half a line at the end, and a file that is done again adds a second line; both
    are taken away when the records are opened and closed. Several runs may write to one folder at a time:
    changes are made under a lock on it.

    Args:
        folder: the output folder, which need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / NAME
        self.by_path = self._read()[0]

    def open(self) -> None:
        """Make the folder and the file.

        Raises:
            OSError: where that is not possible.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path.open("ab").close()
        self.tidy()

    def append(self, record: dict[str, Any]) -> None:
        """Add the record of one file; a torn line before it, or of it, does not stay.

        Raises:
            OSError: where it cannot be written, such as for a full disk.
        """
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        with self._locked(), open(self.path, "ab") as file:
            size = file.tell()
            try:
                if size and not self._ends_a_line():
                    file.write(b"\n")
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, size)
                raise
        self.by_path[record["path"]] = record

    def tidy(self) -> None:
        """Keep the last line of each file alone, where there are others.

        Raises:
            OSError: where the file cannot be replaced.
        """
        with self._locked():
            records, clean = self._read()
            if clean:
                return
            part = self.path.with_name(f".{NAME}.{os.getpid()}.part")
            try:
                with open(part, "wb") as file:
                    file.writelines(json.dumps(record).encode() + b"\n" for record in records.values())
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(part, self.path)
            finally:
                part.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, dict[str, Any]], bool]:
        """The records, and whether the file holds nothing else."""
        records: dict[str, dict[str, Any]] = {}
        try:
            content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return records, True
        clean = content.endswith(b"\n") or not content
        for line in content.splitlines():
            try:
                record = json.loads(line)
                path, output = record["path"], record["output"]
            except (ValueError, TypeError, KeyError):
                path = output = None
            if isinstance(path, str) and isinstance(output, str):
                clean = clean and path not in records
                records[path] = record
            else:
                clean = False
        return records, clean

    def _ends_a_line(self) -> bool:
        with open(self.path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            import fcntl
        except ImportError:  # not a Unix
            yield
            return
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
