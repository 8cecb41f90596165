"""Where the sound lies in a file: behind a tag, in several files one behind the other, or cut off."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from torchprim.audio import chunks
from torchprim.audio.ogg import find_links

# Magic bytes of formats that libsndfile reads well: WAV (RIFF, RIFX, RF64, W64), AIFF, AU, CAF, FLAC, OGG.
_PLAIN = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"caff", b"fLaC", b"OggS")
_FLAC_START = b"fLaC\0\0\0\x22"  # with the header of its first block, 34 bytes of STREAMINFO
_BLOCK = 1 << 20
_MOST_PARTS = 10_000  # a hostile file could hold one for every few bytes
# Some writers count their own header wrongly by a few bytes.
_SIZE_TOLERANCE = 64


@dataclass(frozen=True)
class Part:
    """Range of a file that is a sound file itself; all of the file for most."""

    path: str | os.PathLike[str]
    start: int
    stop: int
    size: int  # of the file
    plain: bool = False  # a format that libsndfile reads well
    replaced: dict[int, bytes] = field(default_factory=dict)  # by offset in the file: a header mended
    note: str = ""  # on what is missing

    @property
    def is_plain_file(self) -> bool:
        """Whether the part is all of the file, as it is."""
        return (self.start, self.stop) == (0, self.size) and not self.replaced

    def open(self) -> BinaryIO:
        """Open the part as if it were a file."""
        if self.is_plain_file:
            return open(self.path, "rb")
        return io.BufferedReader(_Range(self))


class _Range(io.RawIOBase):
    """Read-only file of a part's bytes."""

    def __init__(self, part: Part) -> None:
        self._part, self._position = part, 0
        self._file = open(part.path, "rb", buffering=0)  # noqa: SIM115 (closed below)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        length = self._part.stop - self._part.start
        position = offset + (0, self._position, length)[whence]
        if position < 0:
            raise OSError(f"seek to {position}")
        self._position = position
        return position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        start = self._part.start + self._position
        self._file.seek(start)
        count = max(0, min(len(buffer), self._part.stop - start))
        content = bytearray(self._file.read(count) or b"")
        for offset, new in self._part.replaced.items():
            for i, byte in enumerate(new, offset - start):
                if 0 <= i < len(content):
                    content[i] = byte
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def find_parts(path: str | os.PathLike[str]) -> list[Part]:
    """Find the parts of a file that are sound files themselves: one, but for files that were joined.

    An ID3 tag before a format that libsndfile reads is passed over. Several WAV, AIFF, FLAC, Ogg or MP4 files
    one behind the other (`cat a.ogg b.ogg`) are a part each: decoders read the first, or all with a click.

    Raises:
        AudioError: for a WAV whose header does not say how many bits a sample has.

    Example:
        >>> import tempfile, pathlib
        >>> from torchprim.audio.parts import find_parts
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "cut.wav")
        ...     _ = path.write_bytes(b"RIFF" + (1000).to_bytes(4, "little") + b"WAVE")
        ...     [part.note for part in find_parts(path)]
        ['truncated: 12 of 1008 bytes are there']
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        first = _skip_tags(file)
        file.seek(first)
        magic = file.read(4)
        if magic not in _PLAIN:
            starts = [0, *chunks.later_mp4_starts(file, size)]
            return [Part(path, start, stop, size) for start, stop in itertools.pairwise([*starts, size])]
        note = ""
        if magic == b"OggS":
            starts, whole = find_links(file, first, size)
            note = "" if whole else "truncated: its last page is missing"
        else:
            starts = list(itertools.islice(_starts(file, magic, first, size), _MOST_PARTS))
            end = chunks.stated_end(file, magic, starts[-1], size)
            if end is not None and end > size + _SIZE_TOLERANCE:
                note = f"truncated: {size - first} of {end - first} bytes are there"
        parts, starts = [], starts[:_MOST_PARTS]
        for start, stop in itertools.pairwise([*starts, size]):
            replaced: dict[int, bytes] = {}
            own_note = note if stop == size else ""
            if magic in (b"RIFF", b"RIFX", b"RF64", b"riff"):
                chunks.check_format(path, file, magic, start, stop)
            if magic in (b"RIFF", b"RIFX"):
                replaced = chunks.unfinished_data(file, magic, start, stop)
            if replaced:
                own_note = "its header states no length: read to the end of the file"
            parts.append(Part(path, start, stop, size, True, replaced, own_note))
        return parts


def _skip_tags(file: BinaryIO) -> int:
    """Return the offset behind the ID3v2 tags at the start of a file (ID3v2.4, section 3.1)."""
    position = 0
    while True:
        file.seek(position)
        header = file.read(10)
        if len(header) < 10 or header[:3] != b"ID3" or max(header[6:]) > 127:
            return position
        length = sum(byte << 7 * i for i, byte in enumerate(reversed(header[6:])))
        position += 10 + length + (10 if header[5] & 0x10 else 0)


def _starts(file: BinaryIO, magic: bytes, start: int, size: int) -> Iterator[int]:
    """Yield the offsets at which files of one format begin, one behind the other."""
    yield start
    if magic == b"fLaC":
        yield from _flac_starts(file, start + len(_FLAC_START))
    if magic not in (b"RIFF", b"RIFX", b"FORM"):
        return
    while True:
        end = chunks.stated_end(file, magic, start, size)
        if end is None or end < start + 12:
            return
        file.seek(start)
        form = file.read(12)[8:]
        file.seek(end)
        head = file.read(12)
        if head[:4] != magic or head[8:] != form:
            return
        start = end
        yield start


def _flac_starts(file: BinaryIO, position: int) -> Iterator[int]:
    """Yield the offsets of the FLAC files that follow the first: no frame says where its file ends."""
    file.seek(position)
    tail = b""
    while block := file.read(_BLOCK):
        text, found = tail + block, -1
        while (found := text.find(_FLAC_START, found + 1)) >= 0:
            yield position - len(tail) + found
        position += len(block)
        tail = text[1 - len(_FLAC_START) :]
