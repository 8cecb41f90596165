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

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_LONGEST_NAME = 200  # bytes; file systems allow 255, and a temporary file's name has a suffix of up to 30
_LIVE: set[str] = set()  # tokens of the temporary files that this process is writing


@contextlib.contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Replace a file atomically: open a temporary file beside `path`, renamed to it when the block succeeds.

    The temporary file is flushed and fsynced before the rename, so that neither a kill nor a power cut leaves
    a truncated file. Parent folders are created; temporary files that killed processes left for this path
    are removed.

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
        try:
            yield file
        except OSError as error:
            if error.filename is None:  # `file.write` on a full disk names no file
                error.filename = os.fspath(path)
            raise


@contextlib.contextmanager
def all_replaced(paths: Iterable[str | os.PathLike[str]]) -> Iterator[list[BinaryIO]]:
    """Replace several files as `replaced` does one: all are fsynced before the first is renamed.

    Raises:
        OSError: where a file cannot be written; its `filename` is that path.
    """
    targets = [Path(path) for path in paths]
    token = secrets.token_hex(4)  # threads, and processes of one number, never share a temporary file
    temporaries = [path.with_name(f".{shortened(path.name)}.{os.getpid()}.{token}.part") for path in targets]
    files: list[BinaryIO] = []
    try:
        _LIVE.add(token)
        for target, temporary in zip(targets, temporaries, strict=True):
            with _set_filename(target):
                _check_regular(target)
                target.parent.mkdir(parents=True, exist_ok=True)
                _remove_stale(target)
                files.append(open(temporary, "wb"))  # noqa: SIM115 (closed below)
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
        _LIVE.discard(token)


def shortened(name: str, longest: int = _LONGEST_NAME) -> str:
    """Return a file's name cut to `longest` bytes, between characters.

    Example:
        >>> from torchprim.files import shortened
        >>> shortened("song"), len(shortened(100 * "歌"))
        ('song', 66)
    """
    content = os.fsencode(name)
    return name if len(content) <= longest else content[:longest].decode("utf-8", "ignore")


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read its bytes; a pipe, which would wait, or a device, which may never end, is refused.

    Raises:
        OSError: for a file that is missing, a folder, or not a regular file.

    Example:
        >>> from torchprim.files import open_regular
        >>> open_regular(os.devnull)
        Traceback (most recent call last):
        OSError: [Errno 22] not a regular file: '/dev/null'
    """
    _check_regular(Path(path))
    return open(path, "rb")


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
    """Refuse a device or a pipe."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))


def _remove_stale(path: Path) -> None:
    """Remove the temporary files of `path` whose process is gone."""
    name = shortened(path.name)
    for temporary in path.parent.glob(f".{glob.escape(name)}.*.part"):
        found = re.fullmatch(rf"\.{re.escape(name)}\.(\d+)(?:\.([0-9a-f]{{8}}))?\.part", temporary.name)
        if found and found[2] not in _LIVE and not _is_running(int(found[1])):
            temporary.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    if pid == os.getpid():
        return False  # left by an earlier process with the same number
    try:
        os.kill(pid, 0)  # sends no signal
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


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
        except OSError as error:
            error.filename = os.fspath(path)
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
        with contextlib.suppress(ValueError):
            records.append(json.loads(line))
    return [record for record in records if isinstance(record, dict)]


@contextlib.contextmanager
def reserved(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep a lock file locked through the block, for work that only one process may do at a time.

    The system releases the lock when the process ends, however it ends; the file stays. Its folder is
    created. Where the system or the file system has no such locks, nothing is checked.

    Raises:
        BlockingIOError: while another process, or another block of this one, has the file locked.
        OSError: where the file cannot be created.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with _flock(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), wait=False):
        yield


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive advisory lock on a folder, where the system has such locks."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # a folder that may be written but not listed, or any on Windows
        yield
        return
    with _flock(descriptor, wait=True):
        yield


@contextlib.contextmanager
def _flock(descriptor: int, wait: bool) -> Iterator[None]:
    """Hold an exclusive advisory lock on an open file, and close it."""
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError:  # some network file systems have none
                pass
        yield
    finally:
        os.close(descriptor)
