"""Songs whose true stems are known: MUSDB18, MUSDB18-HQ, or folders of vocals with the rest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchprim.errors import AudioError
from torchprim.bootstrap.bank import Bank

_REST = ("drums", "bass", "other")
_MISFIT = 0.1  # s; codecs pad by less


def find_stem_songs(roots: Sequence[str | os.PathLike]) -> list[Path]:
    """Songs with stems below folders: `.stem.mp4` files, and folders with a `vocals.*`.

    Raises:
        AudioError: for a root that does not exist, or with no such song.
    """
    songs: list[Path] = []
    for root in map(Path, roots):
        if not root.exists():
            raise AudioError(root, "no such file or folder")
        found = [root] if root.is_file() else sorted(root.rglob("*.stem.mp4"))
        found += sorted({path.parent for path in root.rglob("vocals.*") if not path.name.startswith(".")})
        if not found:
            raise AudioError(root, "no song with stems (*.stem.mp4, or a folder with vocals.*)")
        songs += found
    return list(dict.fromkeys(songs))


def read_stems(song: Path) -> tuple[Tensor, Tensor, float]:
    """Vocals and accompaniment `(C, T)` of a song, and their rate in Hz.

    The accompaniment is the sum of all stems but the vocals; `accompaniment.*` where there is one; else
    `mixture.*` less the vocals. Files whose lengths differ by up to 0.1 s are cut to the shortest.

    Raises:
        AudioError: naming the file, where a stem is missing or does not fit the others.
    """
    from torchprim.audio.load import load_audio, load_stems

    if song.is_file():
        stems, rate = load_stems(song)
        vocals = stems.pop("vocals")
        return vocals, sum(stems.values()), rate
    files = {path.stem.lower(): path for path in sorted(song.iterdir()) if not path.name.startswith(".")}
    vocals, rate = load_audio(files["vocals"])
    rest = ("accompaniment",) if "accompaniment" in files else [name for name in _REST if name in files]
    rest = rest or [name for name in ("mixture",) if name in files]
    if not rest:
        raise AudioError(song, "vocals, but neither accompaniment nor mixture nor other stems")
    parts = [vocals]
    for name in rest:
        part, other = load_audio(files[name])
        if other != rate or part.shape[0] != vocals.shape[0]:
            form = f"{part.shape[0]} channels at {other} Hz"
            raise AudioError(files[name], f"{form}, but the vocals {vocals.shape[0]} at {rate} Hz")
        parts.append(part)
    lengths = [part.shape[-1] for part in parts]
    length = min(lengths)
    if max(lengths) - length > _MISFIT * rate:
        seconds = ", ".join(
            f"{name} {n / rate:.2f} s" for name, n in zip(("vocals", *rest), lengths, strict=True)
        )
        raise AudioError(song, f"stems of different lengths: {seconds}")
    vocals, *parts = (part[..., :length] for part in parts)
    accompaniment = sum(parts)
    return vocals, accompaniment - vocals if rest == ["mixture"] else accompaniment, rate


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
        >>> from torchprim.audio.load import demo_song
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
