"""What goes wrong with files of sound, said in one line that names the file."""

from __future__ import annotations

import os


def shown(path: str | os.PathLike) -> str:
    """The path on one line: control characters and bytes that are no text are written as escapes."""
    text = os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class AudioError(Exception):
    """A file of sound that cannot be read or written; its text is one line, "PATH: reason".

    Args:
        path: the file or folder.
        reason: what is wrong with it.

    Example:
        >>> from torchprim.errors import AudioError
        >>> str(AudioError("song.wav", "the file is empty"))
        'song.wav: the file is empty'
    """

    def __init__(self, path: str | os.PathLike, reason: str) -> None:
        super().__init__(path, reason)  # both, so that the error can be sent between processes
        self.path = path
        self.reason = " ".join(reason.split())

    def __str__(self) -> str:
        return f"{shown(self.path)}: {self.reason}"


class AudioWarning(UserWarning):
    """A file of sound that could be read in part only."""
