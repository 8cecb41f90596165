"""Errors of files: one line each, "PATH: reason"."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


def shown(path: str | os.PathLike) -> str:
    """Return the path on one line: control characters and undecodable bytes are escaped."""
    text = os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class FileError(Exception):
    """A file that cannot be used; its text is one line, "PATH: reason".

    Args:
        path: the file or folder.
        reason: what is wrong with it.
    """

    def __init__(self, path: str | os.PathLike, reason: str) -> None:
        super().__init__(path, reason)  # both, so that the error can be pickled
        self.path = path
        self.reason = " ".join(reason.split())

    def __str__(self) -> str:
        return f"{shown(self.path)}: {self.reason}"


class AudioError(FileError):
    """An audio file that cannot be read or written; its text is one line, "PATH: reason".

    Args:
        path: the file or folder.
        reason: what is wrong with it.

    Example:
        >>> from torchprim.errors import AudioError
        >>> str(AudioError("song.wav", "the file is empty"))
        'song.wav: the file is empty'
    """


class AudioWarning(UserWarning):
    """An audio file of which a part could not be decoded."""


class CheckpointError(FileError):
    """A checkpoint that cannot be used; its text is one line, "PATH: reason".

    Args:
        path: the file.
        reason: what is wrong with it.

    Example:
        >>> import torchprim as tp
        >>> str(tp.CheckpointError("best.pt", "there is no such file"))
        'best.pt: there is no such file'
    """


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Raise an `OSError` of the block as an `AudioError`: "PATH: cannot be written: reason"."""
    try:
        yield
    except OSError as error:
        raise AudioError(path, f"cannot be written: {error.strerror or error}") from error


def one_line(path: str | os.PathLike, error: Exception, device: str) -> str:
    """Describe in one line what went wrong with a file, for a command that goes on with the next."""
    import torch

    if isinstance(error, AudioError):  # of the file itself, or of one that is written for it
        return str(error if error.path == path else AudioError(path, str(error)))
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        return str(AudioError(path, text))
    if isinstance(error, torch.OutOfMemoryError):
        torch.cuda.empty_cache()
        return str(AudioError(path, f"not enough memory on the device ({device}); try --device cpu"))
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return str(AudioError(path, "not enough memory"))
    if isinstance(error, ValueError):
        return str(AudioError(path, text))
    return str(AudioError(path, f"{type(error).__name__}: {text}"))
