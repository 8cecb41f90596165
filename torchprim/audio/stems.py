"""Songs whose true stems are known: MUSDB18, MUSDB18-HQ, or folders of vocals with the rest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from torchprim.audio.load import load_audio, load_stems
from torchprim.errors import AudioError

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
