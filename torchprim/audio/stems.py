"""Songs with true stems on disk: MUSDB18, MUSDB18-HQ, or folders of vocals with the other stems."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from torchprim.audio.find import LOSSLESS, FoundFile, OwnOutput, find_audio, has_audio_suffix
from torchprim.audio.load import load_audio, load_stems
from torchprim.errors import AudioError

_OTHERS = ("drums", "bass", "other")
_NAMES = ("vocals", "accompaniment", "mixture", *_OTHERS)
_SUFFIXES = (".stem.mp4", ".stem.m4a")
_LENGTH_TOLERANCE = 0.1  # s; codecs pad by less


def find_stem_songs(roots: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Find songs with stems below folders: `.stem.mp4` files, and folders with a `vocals.*` of sound.

    Names are read in any case. What `torchprim separate` and `torchprim demo` wrote is left out: estimates
    are no true stems.

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
        own = OwnOutput()
        if root.is_file():
            found = [root]
        else:
            found = [path for path in find_audio(root) if path.name.lower().endswith(_SUFFIXES)]
            found += sorted(folder for folder, files in _stem_folders(root, own).items() if "vocals" in files)
        if not found:
            left = f"; {own.count} files that torchprim wrote are left out" if own.count else ""
            raise AudioError(root, f"no song with stems (*.stem.mp4, or a folder with vocals.*){left}")
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
    for folder, files in sorted(_stem_folders(Path(root), OwnOutput()).items()):
        missing = [name for name in _OTHERS if name not in files]
        if "vocals" not in files:
            reasons[folder] = "stems, but no vocals"
        elif "accompaniment" not in files and 0 < len(missing) < len(_OTHERS):
            reasons[folder] = f"no {' and no '.join(missing)}"
    return reasons


def _stem_folders(root: Path, own: OwnOutput) -> dict[Path, dict[str, Path]]:
    """Find the folders with stems below a root: of each, its files of sound by the name of the stem."""
    folders: dict[Path, dict[str, Path]] = {}
    for path in find_audio(root) if root.is_dir() else ():
        if path.stem.lower() in _NAMES and not own(FoundFile(path, root)):
            folders.setdefault(path.parent, {})
    return {folder: _stem_files(folder) for folder in folders}


def _stem_files(folder: Path) -> dict[str, Path]:
    """Return the files of sound in a folder by their name in small letters; of two, the lossless one."""
    files = [path for path in folder.iterdir() if has_audio_suffix(path) and not path.name.startswith(".")]
    files.sort(key=lambda path: (path.suffix.lower() in LOSSLESS, path.name))
    return {path.stem.lower(): path for path in files}


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
    files = _stem_files(song)
    if "vocals" not in files:
        raise AudioError(song, "no vocals.* of sound in this folder")
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
