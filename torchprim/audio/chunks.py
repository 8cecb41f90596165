"""Containers made of chunks (RIFF, RF64, AIFF, Wave64, CAF), and AU: what their headers say of the sound."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from torchprim.errors import AudioError

# Sizes from here on mean that the writer did not know the size (a stream into a pipe).
_UNKNOWN_SIZE = 0x7FFF0000
_MOST_CHUNKS = 1000  # real files have a dozen; a hostile one could hold one for every 8 bytes
_SHORTEST_FORMAT = 16  # bytes of a `fmt ` chunk: with fewer, decoders guess the bits of a sample


class Chunk(NamedTuple):
    """Chunk of a container: its name, where its content begins in the file, and the length that it states."""

    name: bytes
    start: int
    length: int


class _Layout(NamedTuple):
    first: int  # offset of the first chunk
    name_size: int
    length: struct.Struct
    counted: int  # bytes of its own header that a chunk counts in its length
    alignment: int


_LAYOUTS = {
    b"RIFF": _Layout(12, 4, struct.Struct("<I"), 0, 2),
    b"RIFX": _Layout(12, 4, struct.Struct(">I"), 0, 2),
    b"RF64": _Layout(12, 4, struct.Struct("<I"), 0, 2),
    b"FORM": _Layout(12, 4, struct.Struct(">I"), 0, 2),
    b"riff": _Layout(40, 16, struct.Struct("<Q"), 24, 8),  # Wave64: names are GUIDs
    b"caff": _Layout(8, 4, struct.Struct(">Q"), 0, 1),
}


def walk(file: BinaryIO, magic: bytes, start: int, size: int) -> Iterator[Chunk]:
    """Yield the chunks of the container that begins at `start`, up to the end of the file."""
    layout = _LAYOUTS[magic]
    position = start + layout.first
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        header = file.read(layout.name_size + layout.length.size)
        if len(header) < layout.name_size + layout.length.size:
            return
        name = header[: layout.name_size]
        length = max(0, layout.length.unpack(header[layout.name_size :])[0] - layout.counted)
        content = position + len(header)
        yield Chunk(name, content, length)
        position = content + length + -length % layout.alignment
        if position > size:
            return


def stated_end(file: BinaryIO, magic: bytes, start: int, size: int) -> int | None:
    """Return the offset at which the sound or its container ends by the header; None where it does not say.

    Args:
        file: the file.
        magic: its first four bytes, or those at `start`.
        start: where the container begins.
        size: of the file.
    """
    file.seek(start)
    head = file.read(32).ljust(32, b"\0")
    if magic in (b"RIFF", b"RIFX", b"FORM"):
        stated = 8 + int.from_bytes(head[4:8], "little" if magic == b"RIFF" else "big")
        return start + stated if stated < _UNKNOWN_SIZE else None
    if magic == b"RF64" and head[12:16] == b"ds64":
        return start + 8 + int.from_bytes(head[20:28], "little")
    if magic == b"riff":
        return start + int.from_bytes(head[16:24], "little")
    if magic == b".snd":
        offset, length = struct.unpack(">II", head[4:12])
        return start + offset + length if length < _UNKNOWN_SIZE else None
    if magic == b"caff":
        for chunk in walk(file, magic, start, size):
            if chunk.name == b"data":
                return chunk.start + chunk.length if chunk.length < 1 << 63 else None  # -1: not known
    return None


def check_format(path: str | os.PathLike[str], file: BinaryIO, magic: bytes, start: int, size: int) -> None:
    """Refuse a WAV or Wave64 file whose `fmt ` chunk is too short to say how many bits a sample has.

    FFmpeg takes 16-bit samples behind a chunk of 14 bytes for 8-bit ones, without an error.

    Raises:
        AudioError: for such a file.
    """
    for chunk in walk(file, magic, start, size):
        if chunk.name[:4] == b"fmt ":
            if chunk.length < _SHORTEST_FORMAT:
                reason = f"its fmt chunk has {chunk.length} bytes, at least {_SHORTEST_FORMAT} are needed"
                raise AudioError(path, reason)
            return


def unfinished_data(file: BinaryIO, magic: bytes, start: int, size: int) -> dict[int, bytes]:
    """Return what completes the header of a WAV whose recorder never wrote its length.

    Such a file has a `data` chunk of length 0 with sound behind it. An empty chunk that others follow,
    up to the end of the file, holds no sound.

    Returns:
        the bytes to replace by their offset, empty for any other file.
    """
    for chunk in walk(file, magic, start, size):
        if chunk.name == b"data":
            if chunk.length or chunk.start == size or _others_follow(file, magic, start, size):
                return {}
            pack = _LAYOUTS[magic].length.pack
            return {
                start + 4: pack(min(size - start - 8, 0xFFFFFFFF)),
                chunk.start - 4: pack(min(size - chunk.start, 0xFFFFFFFF)),
            }
    return {}


def later_mp4_starts(file: BinaryIO, size: int) -> list[int]:
    """Return the offsets of MP4 files behind a first one: of each further `ftyp` box (ISO 14496-12)."""
    position, starts = 0, []
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        header = file.read(16).ljust(16, b"\0")
        if position == 0 and header[4:8] != b"ftyp":
            return []
        if position and header[4:8] == b"ftyp":
            starts.append(position)
        length = int.from_bytes(header[:4], "big")
        length = int.from_bytes(header[8:], "big") if length == 1 else length
        position += length
        if length < 8 or position >= size:  # 0: the last box, up to the end of the file
            break
    return starts


def _others_follow(file: BinaryIO, magic: bytes, start: int, size: int) -> bool:
    """Check that the chunks of a file, one behind the other, end exactly at its end."""
    end = start
    for chunk in walk(file, magic, start, size):
        end = chunk.start + chunk.length
    return end in (size, size - 1)
