"""Output files of the commands: named after their input, written atomically."""

from __future__ import annotations

from pathlib import Path

from torchprim.errors import writing
from torchprim.files import check_writable, replaced, shortened

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
