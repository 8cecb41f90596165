"""Advisory locks on files and folders, which the system releases when a process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on a file or folder through the block; yield whether it is held.

    It is not where the system has no such locks, and without `wait` where somebody else holds it.

    Args:
        path: which exists.
        wait: until another holder releases it.
    """
    if fcntl is None:
        yield False
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # such as a folder that may be written but not listed
        yield False
        return
    try:
        held = False
        with contextlib.suppress(OSError):  # some network file systems have none
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
        yield held
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def reserved(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep a lock file locked through the block, for work that only one process may do at a time.

    The file stays; its folder is created. Where there are no such locks, nothing is checked.

    Raises:
        BlockingIOError: while another process, or another block of this one, has the file locked.
        OSError: where the file cannot be created.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError:  # some network file systems have none
                pass
        yield
    finally:
        os.close(descriptor)
