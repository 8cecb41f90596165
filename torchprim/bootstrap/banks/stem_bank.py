"""Songs with true stems: MUSDB18, MUSDB18-HQ, or folders of vocals with the other stems."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from torchprim.audio.load import Sound
from torchprim.audio.stems import find_stem_songs, read_stems
from torchprim.bootstrap.banks.arguments import Paths
from torchprim.bootstrap.banks.bank import Bank
from torchprim.bootstrap.banks.cache import FULL_SCALE, CachedSong
from torchprim.errors import AudioError
from torchprim.sources import TWO, check_sources, silent

_SILENT = 10 ** (-70 / 20)  # peak of a second of a stem: below -70 dBFS, as the gate of BS.1770
_MOSTLY = 0.5  # share of silent seconds from which a song is noted


class StemBank(Bank):
    """A `Bank` of songs with true stems: an upper bound for training on estimates.

    `audio` returns the sum of the stems, `stems` the stems themselves. Segments are the paper's snippets of
    15 s. A song with a stem that is silent throughout is left out; one with a stem that is silent for more
    than half of it is noted.

    Args:
        roots: folders of songs with stems, see `find_stem_songs`; None for every song in the cache folder.
        sample_rate: in Hz; songs are resampled to it.
        segment_seconds: length of a segment.
        sources: names of the stems, see `read_stems`: vocals and accompaniment, or such as
            `torchprim.sources.FOUR`, drums, bass, other and vocals.
        settings: the other keyword arguments of `Bank`.

    Raises:
        AudioError: for a root without songs, or if no song can be used.
        ValueError: for sources that are not different names, or a setting out of range.

    Example:
        >>> import tempfile, torchprim as tp
        >>> from torchprim.audio.find import demo_song
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     bank = tp.StemBank([demo_song()], cache=cache, progress=False)
        >>> vocals, accompaniment = bank.stems([0])
        >>> vocals.shape
        torch.Size([1, 268288])
    """

    def __init__(
        self,
        roots: Paths | None,
        sample_rate: int = 44100,
        *,
        segment_seconds: float = 15.0,
        sources: Sequence[str] = TWO,
        **settings: Any,
    ) -> None:
        self.sources: tuple[str, ...] = check_sources(sources)
        self.kind: str = "stems" if self.sources == TWO else f"stems {', '.join(self.sources)}"
        self.tracks: int = len(self.sources)
        super().__init__(roots, sample_rate, segment_seconds=segment_seconds, **settings)

    def _find(self, folders: Sequence[str | os.PathLike[str]]) -> list[Path]:
        return find_stem_songs(folders, self.sources)

    def _decode(self, path: Path) -> Sound:
        tracks, rate = read_stems(path, self.sources)
        return Sound(self._mixed(tracks, like=tracks.sum(0)), rate, ())

    def _copied(self, songs: Iterable[CachedSong], anew: bool) -> Iterator[CachedSong]:
        for song in super()._copied(songs, anew):
            start, stop = self._offsets[-2:]
            shares = _silent_shares(
                self._samples[:, start:stop].unflatten(0, (self.tracks, -1)), song.scale, self.sample_rate
            )
            notes = []
            for share, source in zip(shares, self.sources, strict=True):
                if share == 1:
                    self._offsets.pop()
                    self._skip(song.name, AudioError(song.name, silent(source)))
                    break
                if share > _MOSTLY:
                    notes.append(f"{silent(source)} for {100 * share:.0f} % of it")
            else:
                yield replace(song, notes=(*song.notes, *notes))

    def stems(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        """Return the true stems of segments of one length, `(B, T)` or `(B, 2, T)` each, source by source."""
        return self._gather(indices).unbind(1)


def _silent_shares(samples: Tensor, scale: float, sample_rate: int) -> list[float]:
    """Return the share of silent seconds of each track `(tracks, channels, T)`, int16."""
    size = min(samples.shape[-1], sample_rate)
    count = samples.shape[-1] // size
    peaks = samples[..., : count * size].unflatten(-1, (count, size)).abs().amax(-1).amax(1)
    return (peaks < _SILENT * FULL_SCALE / scale).double().mean(1).tolist()
