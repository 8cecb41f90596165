"""Segments of songs: cut at a fixed hop, those below a loudness dropped."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torchprim.audio.loudness import BLOCK_SECONDS, gated_loudness
from torchprim.bootstrap.banks.cache import CachedSong

_SHORTEST = 0.4  # seconds: the loudness of less is not defined (ITU-R BS.1770-4, annex 1)


class Segment(NamedTuple):
    """Part of one song, in samples at the bank's rate; loudness in LUFS."""

    song: int
    start: int
    length: int
    loudness: float


def describe_quiet(song: CachedSong, quietest: float) -> str:
    """Describe why a song gave no segment: its loudness beside the quietest that is used, in LUFS."""
    if song.length < _SHORTEST * song.sample_rate:
        return f"it is shorter than {_SHORTEST:g} s"
    loudness = gated_loudness(song.powers)
    # The absolute gate of BS.1770: what is softer counts as silence.
    how = "is silent, below -70 LUFS" if loudness == -math.inf else f"has {loudness:.1f} LUFS"
    return f"it {how}, and no segment reaches {quietest:g} LUFS"


def cut_segments(
    index: int, song: CachedSong, segment_seconds: float, hop_seconds: float, quietest: float
) -> Iterator[Segment]:
    """Cut a song into segments of one length (section 4.1 of the paper).

    A shorter song is one segment, and one of less than 0.4 s none. The loudness (ITU-R BS.1770) is that of
    the cached block powers.

    Args:
        index: of the song in its bank.
        song: its cache entry.
        segment_seconds: length of a segment.
        hop_seconds: hop between segments.
        quietest: minimum loudness of a segment in LUFS.
    """
    if song.length < _SHORTEST * song.sample_rate:
        return
    hop = round(hop_seconds * song.sample_rate)
    length = min(round(segment_seconds * song.sample_rate), song.length)
    for start in range(0, song.length - length + 1, hop):
        first, last = (int(edge / song.sample_rate / BLOCK_SECONDS) for edge in (start, start + length))
        loudness = gated_loudness(song.powers[first : max(last, first + 1)])
        if loudness >= quietest:
            yield Segment(index, start, length, loudness)


def checked_indices(indices: Iterable[int], count: int, name: str) -> list[int]:
    """Check for indices of `count` segments.

    Raises:
        ValueError: naming the first that is none.
    """
    numbers = [operator.index(i) for i in indices]
    for number in numbers:
        if not 0 <= number < count:
            raise ValueError(f"{name} must be those of the bank's {count} segments, got {number}")
    return numbers
