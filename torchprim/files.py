"""Records as lines of JSON in a file that may be killed at any moment and written to by several processes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def append(path: str | os.PathLike, records: list[dict[str, Any]]) -> None:
    """Add records, each a line, in one write: lines of several processes do not mix.

    A line that a kill left unfinished is closed first, so that it spoils itself alone.

    Raises:
        OSError: where the file cannot be written.
    """
    text = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records).encode()
    with open(path, "a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                text = b"\n" + text
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read(path: str | os.PathLike) -> Iterator[dict[str, Any]]:
    """The records of a file; none where it does not exist, torn lines left out.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchprim import json_lines
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "x.jsonl"
        ...     json_lines.append(path, [{"a": 1}])
        ...     _ = path.write_text(path.read_text() + '{"a":')  # killed while writing
        ...     json_lines.append(path, [{"a": 2}])
        ...     list(json_lines.read(path))
        [{'a': 1}, {'a': 2}]
    """
    try:
        lines = Path(path).read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def keep(path: str | os.PathLike, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Keep only the records that are wanted; the file is replaced whole or not at all.

    Raises:
        OSError: where the file cannot be written.
    """
    kept = [json.dumps(record) + "\n" for record in read(path) if wanted(record)]
    temporary = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.part")
    try:
        temporary.write_text("".join(kept))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
