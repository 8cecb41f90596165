"""Whether a file ends before its own headers say it does, where the decoders do not tell."""

from __future__ import annotations

import os

# Sizes from here on stand for "not known when the header was written" (a stream into a pipe).
_UNKNOWN = 0x7FFF0000


def missing_end(path: str | os.PathLike) -> str:
    """A note where the end of a WAV, AIFF or Ogg file is missing; empty where nothing is seen to miss.

    Decoders silently read such files up to where they end.

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
            promised = int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big") + 8
            # Some writers count their own header wrongly by a few bytes.
            if size + 64 < promised < _UNKNOWN:
                return f"truncated: {size} of {promised} bytes are there"
        elif head[:4] == b"OggS":
            file.seek(max(0, size - (1 << 17)))
            if not _ends_with_last_page(file.read()):
                return "truncated: its last page is missing"
    return ""


def _ends_with_last_page(tail: bytes) -> bool:
    """Whether the bytes end with a whole Ogg page that is marked as the last of its stream (RFC 3533)."""
    at = tail.rfind(b"OggS")
    page = tail[at:]
    if at < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return False
    length = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return bool(page[5] & 4) and len(page) >= length
