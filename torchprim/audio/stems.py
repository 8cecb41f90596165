"""Songs with true stems on disk: MUSDB18, MUSDB18-HQ, or folders of vocals with the other stems."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from torchprim.audio.load import load_audio, load_stems
from torchprim.errors import AudioError

_OTHERS = ("drums", "bass", "other")
_NAMES = ("vocals", "accompaniment", "mixture", *_OTHERS)
_LENGTH_TOLERANCE = 0.1  # s; codecs pad by less


def find_stem_songs(roots: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Find songs with stems below folders: `.stem.mp4` files, and folders with a `vocals.*`.

    Args:
        roots: folders to search; a `.stem.mp4` may be given itself.

    Returns:
        files and folders, for `read_stems`.

    Raises:
        AudioError: for a root that does not exist, or with no such song.

    Example:
        >>> from torchprim.audio.find import demo_song
        >>> from torchprim.audio.stems import find_stem_songs
        >>> find_stem_songs([demo_song().parent]) == [demo_song()]
        True
    """
    songs: list[Path] = []
    for given in roots:
        root = Path(given)
        if not (os.fspath(given) and root.exists()):
            raise AudioError(given or "''", "no such file or folder")
        found = [root] if root.is_file() else sorted(root.rglob("*.stem.mp4"))
        found += sorted({path.parent for path in root.rglob("vocals.*") if not path.name.startswith(".")})
        if not found:
            raise AudioError(root, "no song with stems (*.stem.mp4, or a folder with vocals.*)")
        songs += found
    return list(dict.fromkeys(songs))


def find_incomplete_songs(root: str | os.PathLike[str]) -> dict[Path, str]:
    """Find folders with incomplete stems: no vocals, or a part of the accompaniment's stems.

    Args:
        root: folder to search.

    Returns:
        the reason by folder: "stems, but no vocals", or such as "no drums and no bass".

    Example:
        >>> import tempfile
        >>> from torchprim.audio.stems import find_incomplete_songs
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("vocals.wav", "drums.wav", "bass.wav"):
        ...         Path(root, name).touch()
        ...     list(find_incomplete_songs(root).values())
        ['no other']
    """
    reasons = {}
    for folder in sorted({path.parent for name in _NAMES for path in Path(root).rglob(f"{name}.*")}):
        present = {path.stem.lower() for path in folder.iterdir()}
        missing = [name for name in _OTHERS if name not in present]
        if "vocals" not in present:
            reasons[folder] = "stems, but no vocals"
        elif "accompaniment" not in present and 0 < len(missing) < len(_OTHERS):
            reasons[folder] = f"no {' and no '.join(missing)}"
    return reasons


def read_stems(song: Path) -> tuple[Tensor, Tensor, float]:
    """Read the vocals and the accompaniment of a song.

    The accompaniment is `accompaniment.*` where there is one, else the sum of drums, bass and other, else
    `mixture.*` minus the vocals. Files whose lengths differ by up to 0.1 s are cut to the shortest.

    Args:
        song: file or folder from `find_stem_songs`.

    Returns:
        vocals `(C, T)`, accompaniment `(C, T)`, and their rate in Hz.

    Raises:
        AudioError: naming the file, where a stem is missing, or differs from the others in rate, channels or
            length.
    """
    if song.is_file():
        stems, rate = load_stems(song)
        vocals = stems.pop("vocals")
        return vocals, sum(stems.values()), rate
    files = {path.stem.lower(): path for path in sorted(song.iterdir()) if not path.name.startswith(".")}
    vocals, rate = load_audio(files["vocals"])
    others = ("accompaniment",) if "accompaniment" in files else [name for name in _OTHERS if name in files]
    others = others or [name for name in ("mixture",) if name in files]
    if not others:
        raise AudioError(song, "vocals, but neither accompaniment nor mixture nor other stems")
    stems = [vocals]
    for name in others:
        stem, stem_rate = load_audio(files[name])
        if stem_rate != rate or stem.shape[0] != vocals.shape[0]:
            reason = (
                f"{stem.shape[0]} channels at {stem_rate} Hz, but the vocals {vocals.shape[0]} at {rate} Hz"
            )
            raise AudioError(files[name], reason)
        stems.append(stem)
    lengths = [stem.shape[-1] for stem in stems]
    length = min(lengths)
    if max(lengths) - length > _LENGTH_TOLERANCE * rate:
        seconds = ", ".join(
            f"{name} {n / rate:.2f} s" for name, n in zip(("vocals", *others), lengths, strict=True)
        )
        raise AudioError(song, f"stems of different lengths: {seconds}")
    vocals, *stems = (stem[..., :length] for stem in stems)
    total = sum(stems)
    return vocals, total - vocals if others == ["mixture"] else total, rate
