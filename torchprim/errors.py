"""Errors about files, each one line: "PATH: reason"."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path in printable form: control characters and undecodable bytes are escaped."""
    text = os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class FileError(Exception):
    """Error about a file; `str` of it is one line, "PATH: reason".

    Args:
        path: the file or folder.
        reason: why it cannot be used; runs of whitespace become one space.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)  # pickle calls __init__ with these
        self.path: str | os.PathLike[str] = path
        self.reason: str = " ".join(reason.split())

    def __str__(self) -> str:
        return f"{shown(self.args[0])}: {self.reason}"


class AudioError(FileError):
    """Error about an audio file that cannot be read or written.

    Args:
        path: the file or folder.
        reason: why.

    Example:
        >>> from torchprim.errors import AudioError
        >>> str(AudioError("song.wav", "the file is empty"))
        'song.wav: the file is empty'
    """


class AudioWarning(UserWarning):
    """Warning about an audio file that was decoded in part, or whose channels cancel."""


class CheckpointError(FileError):
    """Error about a checkpoint that cannot be read or does not fit.

    Args:
        path: the file.
        reason: why.

    Example:
        >>> import torchprim as tp
        >>> str(tp.CheckpointError("best.pt", "there is no such file"))
        'best.pt: there is no such file'
    """

    path: Path

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = Path(path)


class PresetError(FileError, ValueError):
    """Error about a preset in a file or module that cannot be used; it is a `ValueError`, too.

    Args:
        path: the file, or the name in the module.
        reason: why.

    Example:
        >>> from torchprim.errors import PresetError
        >>> str(PresetError("mine.toml", "beta must be positive, got -1"))
        'mine.toml: beta must be positive, got -1'
    """


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Convert an `OSError` raised in the block to an `AudioError`: "PATH: cannot be written: reason"."""
    try:
        yield
    except OSError as error:
        raise AudioError(path, f"cannot be written: {error.strerror or error}") from error


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error says that memory is exhausted, of the computer or of a GPU.

    Example:
        >>> from torchprim.errors import is_out_of_memory
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("sizes differ"))
        (True, False)
    """
    import torch

    # torch's allocator for the CPU has no type of its own.
    texts = ("can't allocate memory", "DefaultCPUAllocator", "alloc_cpu.cpp")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
    )


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Raise `MemoryError` for the bare `RuntimeError` of torch's allocator for the CPU.

    Example:
        >>> import torch
        >>> from torchprim.errors import memory_errors
        >>> with memory_errors():
        ...     torch.empty(1 << 60, dtype=torch.uint8)
        Traceback (most recent call last):
        MemoryError: not enough memory
    """
    try:
        yield
    except RuntimeError as error:
        if type(error) is RuntimeError and is_out_of_memory(error):
            raise MemoryError("not enough memory") from error
        raise


def one_line(path: str | os.PathLike[str], error: Exception, device: str) -> str:
    """Format any error about a file as one line, "PATH: reason", for commands that continue with the next.

    Running out of GPU memory also empties the CUDA cache.

    Args:
        path: the input file.
        error: the exception, of any type.
        device: for the advice when its memory is exhausted.

    Example:
        >>> from torchprim.errors import one_line
        >>> one_line("song.wav", KeyError("x"), "cpu")
        "song.wav: KeyError: 'x'"
    """
    import torch

    if isinstance(error, AudioError):  # about the input itself, or about one of its outputs
        return str(error if error.path == path else AudioError(path, str(error)))
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        return str(AudioError(path, text))
    if isinstance(error, torch.OutOfMemoryError):
        torch.cuda.empty_cache()
        return str(AudioError(path, f"not enough memory on the device ({device}); try --device cpu"))
    if is_out_of_memory(error):
        return str(AudioError(path, "not enough memory"))
    if isinstance(error, ValueError):
        return str(AudioError(path, text))
    return str(AudioError(path, f"{type(error).__name__}: {text}"))
