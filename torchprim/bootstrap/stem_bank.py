"""Songs whose true stems are known: MUSDB18, MUSDB18-HQ, or folders of vocals with the rest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchprim.audio.stems import find_stem_songs, read_stems
from torchprim.bootstrap.bank import Bank


class StemBank(Bank):
    """A `Bank` of songs with true stems: the ceiling of what remixes of estimates can teach.

    Its audio is the sum of the stems; `stems` gives them apart. The paper's remixes of true stems take
    snippets of 15 s.

    Args:
        roots: folders of songs with stems, see `find_stem_songs`.
        segment_seconds: length of a segment.
        hop_seconds: distance of two segments' starts.
        settings: the others are those of `Bank`.

    Raises:
        AudioError: for a root without songs, or where no song can be used.

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
        self,
        roots: Sequence[str | os.PathLike],
        sample_rate: int = 44100,
        *,
        segment_seconds: float = 15.0,
        hop_seconds: float = 15.0,
        **settings,
    ) -> None:
        lengths = {"segment_seconds": segment_seconds, "hop_seconds": hop_seconds}
        super().__init__(roots, sample_rate, **lengths, **settings)

    def _find(self, folders: Sequence[str | os.PathLike]) -> list[Path]:
        return find_stem_songs(folders)

    def _decode(self, path: Path) -> tuple[Tensor, float]:
        vocals, accompaniment, rate = read_stems(path)
        return torch.stack([vocals.mean(0), accompaniment.mean(0)]), rate

    def stems(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """True vocals and accompaniment `(B, T)` of segments of one length."""
        vocals, accompaniment = self._tracks(indices).unbind(1)
        return vocals, accompaniment
