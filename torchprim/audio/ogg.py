"""Pages of an Ogg file (RFC 3533): its links, and whether it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_MAGIC = b"OggS"
_BLOCK = 1 << 16
_FIRST, _LAST = 2, 4  # flags of the first and the last page of a stream


class _Page(NamedTuple):
    start: int
    stop: int
    flags: int


class Links(NamedTuple):
    """Offsets at which the links of an Ogg file begin, and whether it ends with the last page of a stream."""

    starts: list[int]
    whole: bool


def find_links(file: BinaryIO, start: int, size: int) -> Links:
    """Find the links of an Ogg file: whole files one behind the other, as internet radio is recorded.

    A link begins with the first pages of all its streams (RFC 3533, section 4).

    Args:
        file: the file.
        start: where its first page begins.
        size: of the file.

    Example:
        >>> import io
        >>> from torchprim.audio.ogg import find_links
        >>> first, last = (b"OggS\\0" + bytes([flag]) + bytes(21) for flag in (2, 4))
        >>> find_links(io.BytesIO(first + last + first), 0, 81)
        Links(starts=[0, 54], whole=False)
    """
    starts, page, opening = [], None, False
    for page in _pages(file, start, size):
        if page.flags & _FIRST and not opening:
            starts.append(page.start)
        opening = bool(page.flags & _FIRST)
    whole = page is not None and bool(page.flags & _LAST) and page.stop <= size
    return Links(starts or [start], whole)


def _pages(file: BinaryIO, position: int, size: int) -> Iterator[_Page]:
    """Yield all pages, the last of which may be cut off; what is no page is passed over."""
    while position < size:
        file.seek(position)
        header = file.read(27)
        if header[:4] != _MAGIC:
            found = _next_magic(file, position + 1)
            if found is None:
                return
            position = found
            continue
        sizes = file.read(header[26]) if len(header) == 27 else b""
        is_cut = len(header) < 27 or len(sizes) < header[26]
        stop = size + 1 if is_cut else position + 27 + len(sizes) + sum(sizes)
        yield _Page(position, stop, header[5] if len(header) > 5 else 0)
        position = stop


def _next_magic(file: BinaryIO, position: int) -> int | None:
    """Return the offset of the next capture pattern."""
    file.seek(position)
    tail = b""
    while block := file.read(_BLOCK):
        found = (tail + block).find(_MAGIC)
        if found >= 0:
            return position - len(tail) + found
        position += len(block)
        tail = (tail + block)[-3:]
    return None
