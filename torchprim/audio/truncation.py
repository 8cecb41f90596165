"""Truncated files, detected by their headers where the decoders do not report them."""

from __future__ import annotations

import os

# Sizes from here on mean that the writer did not know the size (a stream into a pipe).
_UNKNOWN_SIZE = 0x7FFF0000


def missing_end(path: str | os.PathLike[str]) -> str:
    """Return a note where the end of a WAV, AIFF or Ogg file is missing, else an empty string.

    Decoders read such files up to their end without an error.

    Example:
        >>> import tempfile, pathlib
        >>> from torchprim.audio.truncation import missing_end
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "cut.wav")
        ...     _ = path.write_bytes(b"RIFF" + (1000).to_bytes(4, "little") + b"WAVE")
        ...     missing_end(path)
        'truncated: 12 of 1008 bytes are there'
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(8)
        if head[:4] in (b"RIFF", b"RIFX", b"FORM"):
            stated = int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big") + 8
            # Some writers count their own header wrongly by a few bytes.
            if size + 64 < stated < _UNKNOWN_SIZE:
                return f"truncated: {size} of {stated} bytes are there"
        elif head[:4] == b"OggS":
            file.seek(max(0, size - (1 << 17)))
            if not _ends_with_last_page(file.read()):
                return "truncated: its last page is missing"
    return ""


def _ends_with_last_page(tail: bytes) -> bool:
    """Check that the bytes end with a whole Ogg page that is marked as the last of its stream (RFC 3533)."""
    start = tail.rfind(b"OggS")
    page = tail[start:]
    if start < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return False
    length = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return bool(page[5] & 4) and len(page) >= length
