"""Songs with true stems: MUSDB18, MUSDB18-HQ, or folders of vocals with the other stems."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchprim.audio.load import Sound
from torchprim.audio.stems import find_stem_songs, read_stems
from torchprim.bootstrap.banks.arguments import Paths
from torchprim.bootstrap.banks.bank import Bank
from torchprim.bootstrap.banks.cache import FULL_SCALE, CachedSong
from torchprim.errors import AudioError

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
        settings: the other keyword arguments of `Bank`.

    Raises:
        AudioError: for a root without songs, or if no song can be used.

    Example:
        >>> import tempfile, torchprim as tp
        >>> from torchprim.audio.find import demo_song
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     bank = tp.StemBank([demo_song()], cache=cache, progress=False)
        >>> vocals, accompaniment = bank.stems([0])
        >>> vocals.shape
        torch.Size([1, 268288])
    """

    kind = "stems"
    tracks = 2

    def __init__(
        self, roots: Paths | None, sample_rate: int = 44100, *, segment_seconds: float = 15.0, **settings: Any
    ) -> None:
        super().__init__(roots, sample_rate, segment_seconds=segment_seconds, **settings)

    def _find(self, folders: Sequence[str | os.PathLike[str]]) -> list[Path]:
        return find_stem_songs(folders)

    def _decode(self, path: Path) -> Sound:
        vocals, accompaniment, rate = read_stems(path)
        tracks = torch.stack([vocals, accompaniment])
        return Sound(self._mixed(tracks, like=tracks.sum(0)), rate, ())

    def _copied(self, songs: Iterable[CachedSong], anew: bool) -> Iterator[CachedSong]:
        for song in super()._copied(songs, anew):
            start, stop = self._offsets[-2:]
            shares = _silent_shares(
                self._samples[:, start:stop].unflatten(0, (self.tracks, -1)), song.scale, self.sample_rate
            )
            notes = []
            for share, stem in zip(shares, ("vocals are", "accompaniment is"), strict=True):
                if share == 1:
                    self._offsets.pop()
                    self._skip(song.name, AudioError(song.name, f"the {stem} silent"))
                    break
                if share > _MOSTLY:
                    notes.append(f"the {stem} silent for {100 * share:.0f} % of it")
            else:
                yield replace(song, notes=(*song.notes, *notes))

    def stems(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the true vocals and accompaniment, `(B, T)` or `(B, 2, T)`, of segments of one length."""
        vocals, accompaniment = self._gather(indices).unbind(1)
        return vocals, accompaniment


def _silent_shares(samples: Tensor, scale: float, sample_rate: int) -> list[float]:
    """Return the share of silent seconds of each track `(tracks, channels, T)`, int16."""
    size = min(samples.shape[-1], sample_rate)
    count = samples.shape[-1] // size
    peaks = samples[..., : count * size].unflatten(-1, (count, size)).abs().amax(-1).amax(1)
    return (peaks < _SILENT * FULL_SCALE / scale).double().mean(1).tolist()
