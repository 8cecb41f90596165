"""Output of the commands: files named after their input and written atomically, and lines of text."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from torchprim.errors import writing
from torchprim.files import check_writable, replaced, shortened
from torchprim.progress import write

_LONGEST_TITLE = 240  # bytes: with `.pitch.csv` less than the 255 that file systems allow


def title_of(path: Path) -> str:
    """Return the name of a file without its extension, `.stem.mp4` being one, cut to 240 bytes."""
    return shortened(path.stem.removesuffix(".stem") or path.name, _LONGEST_TITLE)


def check_output(path: Path) -> None:
    """Check that a file can be written, before much is computed for it.

    Raises:
        AudioError: "PATH: cannot be written: reason".
    """
    with writing(path):
        check_writable(path)


def write_output(path: Path, content: bytes | str) -> None:
    """Write a file, text as UTF-8.

    Raises:
        AudioError: "PATH: cannot be written: reason".
    """
    with writing(path), replaced(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line clear of the progress bars, to standard output by default.

    A stream that cannot be written, such as to a full disk, is given up, with a warning: what is computed
    counts for more. That the reader of the output has left (`| head`) still ends the command.

    Raises:
        BrokenPipeError: for standard output.
    """
    stream = stream or sys.stdout
    try:
        write(text, stream)
        stream.flush()
    except OSError as error:
        if stream is not sys.stderr:
            if isinstance(error, BrokenPipeError):
                raise
            say(f"warning: standard output: cannot be written: {error.strerror}", sys.stderr)
        discard(stream)


def discard(stream: TextIO) -> None:
    """Send what is still to be written to a stream nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def open_closed_streams() -> None:
    """Open the null device in the place of standard streams that are closed (`2>&-`).

    Else a song or its stems would be the next file to get the stream's number, and what a library prints
    would be written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
