"""Crash-safe files: atomic replacement (temporary file, fsync, rename), and append-only JSON Lines."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO


@contextlib.contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Replace a file atomically: open a temporary file beside `path`, renamed to it when the block succeeds.

    The temporary file is flushed and fsynced before the rename, so that neither a kill nor a power cut leaves
    a truncated file. Parent folders are created; temporary files that killed processes left for this path
    are removed, which those of running ones are safe from, whatever machine or container they run in: a
    writer holds an advisory lock on its temporary file.

    Raises:
        OSError: where the file cannot be written; its `filename` is `path`.

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
def all_replaced(paths: Iterable[str | os.PathLike[str]]) -> Iterator[list[BinaryIO]]:
    """Replace several files as `replaced` does one: all are fsynced before the first is renamed.

    Raises:
        OSError: where a file cannot be written; its `filename` is that path.
    """
    targets = [Path(path) for path in paths]
    temporaries: list[Path] = []
    files: list[BinaryIO] = []
    locks = contextlib.ExitStack()
    try:
        for target in targets:
            with _set_filename(target):
                _check_regular(target)
                target.parent.mkdir(parents=True, exist_ok=True)
                _remove_stale(target)
                temporary, file = _open_temporary(target, locks)
                temporaries.append(temporary)
                files.append(file)
        yield files
        for target, file in zip(targets, files, strict=True):
            with _set_filename(target), file:
                file.flush()
                os.fsync(file.fileno())
        for target, temporary in zip(targets, temporaries, strict=True):
            with _set_filename(target):
                os.replace(temporary, target)
    finally:
        for file, temporary in zip(files, temporaries, strict=False):
            with contextlib.suppress(OSError):  # close flushes again, and fails again on a full disk
                file.close()
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        locks.close()


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check that a file can be written, before much is computed for it; its folder is created.

    Raises:
        OSError: where it cannot be written; its `filename` is `path`.
    """
    with contextlib.suppress(_Rollback), all_replaced([path]):
        raise _Rollback


class _Rollback(Exception):
    """Leave the block of `all_replaced` without a rename."""


@contextlib.contextmanager
def _set_filename(path: Path) -> Iterator[None]:
    """Set `filename` of an `OSError` to the path that the caller knows, not the temporary one."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = os.fspath(path), None
        raise


def _check_regular(path: Path) -> None:
    """Refuse to replace a device or a pipe."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))


def _open_temporary(path: Path, locks: contextlib.ExitStack) -> tuple[Path, BinaryIO]:
    """Open a temporary file of `path`, which no other thread or process writes or removes under `locks`."""
    while True:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
        file = open(temporary, "wb")  # noqa: SIM115 (closed by the caller)
        locks.enter_context(_locked(temporary))
        if temporary.exists():
            return temporary, file
        file.close()  # another writer took it for a stale one, before it was locked


def _remove_stale(path: Path) -> None:
    """Remove the temporary files of `path` that nobody is writing."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        if re.fullmatch(rf"\.{re.escape(path.name)}\.\d+(\.[0-9a-f]{{8}})?\.part", temporary.name):
            with _locked(temporary, wait=False) as locked:
                if locked:
                    temporary.unlink(missing_ok=True)


def append_json_lines(path: str | os.PathLike[str], records: Iterable[dict[str, Any]]) -> None:
    """Append records to a file of JSON Lines, and fsync it.

    Several processes may append to one file: writers hold an advisory lock on its folder. An incomplete last
    line, which a kill left, is terminated first; after a failed write the file is truncated to its old size.

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


def read_json_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the records of a file of JSON Lines; none where it does not exist. Other lines are skipped.

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
    path: str | os.PathLike[str], keep: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> None:
    """Rewrite a file of JSON Lines with the records that `keep` selects, atomically.

    The file is left as it is where every line is complete and selected.

    Raises:
        OSError: where the file cannot be replaced.
    """
    with _locked(Path(path).parent):
        content = _content(path)
        selected = keep(_parse(content))
        complete = not content or content.endswith(b"\n")
        if not complete or len(selected) != len(content.splitlines()):
            with replaced(path) as file:
                file.writelines(json.dumps(record).encode() + b"\n" for record in selected)


def _content(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return b""


def _parse(content: bytes) -> list[dict[str, Any]]:
    records = []
    for line in content.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            records.append(json.loads(line))
    return [record for record in records if isinstance(record, dict)]


@contextlib.contextmanager
def _locked(path: str | os.PathLike[str], wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive advisory lock on a file or folder; yield whether it is held.

    It is not where the system has no such locks, and without `wait` where somebody else holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield False
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # such as a folder that may be written but not listed
        yield False
        return
    try:
        locked = False
        with contextlib.suppress(OSError):  # some network file systems have none
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        yield locked
    finally:
        os.close(descriptor)
