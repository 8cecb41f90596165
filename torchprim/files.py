"""Files that a kill leaves whole: replaced at once, or grown by lines of JSON."""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO


@contextlib.contextmanager
def replaced(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, and rename it to `path` when the block ends without an error.

    The file is flushed and synchronised to the disk before it is renamed, so that neither a kill nor a power
    cut leaves the name without its content. Folders on the way are made; temporary files of this path that a
    killed process left behind are removed.

    Raises:
        OSError: with `filename` the path, where it cannot be written.

    Example:
        >>> import tempfile
        >>> from torchprim.files import replaced
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replaced(f"{folder}/x.txt") as file:
        ...         _ = file.write(b"whole")
        ...     Path(folder, "x.txt").read_text(), len(os.listdir(folder))
        ('whole', 1)
    """
    with all_replaced([path]) as (file,):
        yield file


@contextlib.contextmanager
def all_replaced(paths: Iterable[str | os.PathLike]) -> Iterator[list[BinaryIO]]:
    """Replace several files as `replaced` does one: none is renamed before all are on the disk.

    Raises:
        OSError: with `filename` the path that could not be written.
    """
    paths = [Path(path) for path in paths]
    parts = [path.with_name(f".{path.name}.{os.getpid()}.part") for path in paths]
    files: list[BinaryIO] = []
    try:
        for path, part in zip(paths, parts, strict=True):
            with _names(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                _remove_abandoned(path)
                files.append(open(part, "wb"))  # noqa: SIM115 (closed below)
        yield files
        for path, file in zip(paths, files, strict=True):
            with _names(path), file:
                file.flush()
                os.fsync(file.fileno())
        for path, part in zip(paths, parts, strict=True):
            with _names(path):
                os.replace(part, path)
    finally:
        for file, part in zip(files, parts, strict=False):
            with contextlib.suppress(OSError):  # what could not be flushed above
                file.close()
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike) -> None:
    """Make the folder of `path` and try to write beside it, before much is computed for it.

    Raises:
        OSError: with `filename` the path, where it could not be written.
    """
    with contextlib.suppress(_Abandoned), all_replaced([path]):
        raise _Abandoned


class _Abandoned(Exception):
    pass


@contextlib.contextmanager
def _names(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = os.fspath(path), None
        raise


def _remove_abandoned(path: Path) -> None:
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        owner = part.name.split(".")[-2]
        if owner.isdigit() and not _running(int(owner)):
            part.unlink(missing_ok=True)


def _running(process: int) -> bool:
    if process == os.getpid():
        return False  # of an earlier process with this number
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def append_json_lines(path: str | os.PathLike, records: Iterable[dict[str, Any]]) -> None:
    """Append records, one line of JSON each, and synchronise them to the disk.

    Several processes may append to one file: writes are made under a lock on its folder. A line that a kill
    left unfinished is closed first, and one that a full disk cuts short is taken back.

    Raises:
        OSError: where the file cannot be written.
        ValueError: for a NaN or an infinity, which JSON does not have.
    """
    text = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records).encode()
    with _locked(Path(path).parent), open(path, "a+b") as file:
        size = file.tell()
        if size:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                text = b"\n" + text
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(path, size)
            raise


def read_json_lines(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Read the records of a file; none where it does not exist. Lines that hold no object are left out.

    Raises:
        OSError: where the file exists and cannot be read.

    Example:
        >>> import tempfile
        >>> from torchprim.files import append_json_lines, read_json_lines
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "x.jsonl"
        ...     append_json_lines(path, [{"a": 1}])
        ...     _ = path.write_text(path.read_text() + '{"a":')  # killed while writing
        ...     append_json_lines(path, [{"a": 2}])
        ...     read_json_lines(path)
        [{'a': 1}, {'a': 2}]
    """
    return _parse(_content(path))


def filter_json_lines(
    path: str | os.PathLike, keep: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> None:
    """Replace the file by the records that `keep` returns, where that leaves out any line.

    Raises:
        OSError: where the file cannot be replaced.
    """
    with _locked(Path(path).parent):
        content = _content(path)
        kept = keep(_parse(content))
        complete = not content or content.endswith(b"\n")
        if not complete or len(kept) != len(content.splitlines()):
            with replaced(path) as file:
                file.writelines(json.dumps(record).encode() + b"\n" for record in kept)


def _content(path: str | os.PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return b""


def _parse(content: bytes) -> list[dict[str, Any]]:
    records = []
    for line in content.splitlines():
        with contextlib.suppress(ValueError):
            records.append(json.loads(line))
    return [record for record in records if isinstance(record, dict)]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # not a Unix
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
