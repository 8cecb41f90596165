"""Songs with true stems on disk: MUSDB18, MUSDB18-HQ, or folders of vocals with the other stems."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchprim.audio.find import LOSSLESS, FoundFile, OwnOutput, find_audio, has_audio_suffix
from torchprim.audio.load import load_audio, load_stems
from torchprim.errors import AudioError
from torchprim.sources import FOUR, TWO

_OTHERS = ("drums", "bass", "other")
_SUFFIXES = (".stem.mp4", ".stem.m4a")
_LENGTH_TOLERANCE = 0.1  # s; codecs pad by less


def find_stem_songs(roots: Sequence[str | os.PathLike[str]], sources: Sequence[str] = TWO) -> list[Path]:
    """Find songs with stems below folders: `.stem.mp4` files, and folders with a `vocals.*` of sound.

    Names are read in any case. What `torchprim separate` and `torchprim demo` wrote is left out: estimates
    are no true stems.

    Args:
        roots: folders to search; a `.stem.mp4` may be given itself.
        sources: names of the stems; of other sources than vocals and accompaniment, a folder with a file of
            any of them is a song.

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
    signs = _signs(sources)
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
            folders = _stem_folders(root, own, sources)
            found += sorted(folder for folder, files in folders.items() if signs & files.keys())
        if not found:
            left = f"; {own.count} files that torchprim wrote are left out" if own.count else ""
            files = " or ".join(f"{name}.*" for name in sources if name.lower() in signs)
            raise AudioError(root, f"no song with stems (*.stem.mp4, or a folder with {files}){left}")
        songs += found
    return list(dict.fromkeys(songs))


def find_incomplete_songs(root: str | os.PathLike[str], sources: Sequence[str] = TWO) -> dict[Path, str]:
    """Find folders with incomplete stems: no vocals, or a part of the accompaniment's stems.

    Args:
        root: folder to search.
        sources: names of the stems; of other sources than vocals and accompaniment, each must be there.

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
    for folder, files in sorted(_stem_folders(Path(root), OwnOutput(), sources).items()):
        two = tuple(sources) == TWO
        missing = [name for name in (_OTHERS if two else sources) if name.lower() not in files]
        if two and "vocals" not in files:
            reasons[folder] = "stems, but no vocals"
        elif missing and not (two and ("accompaniment" in files or len(missing) == len(_OTHERS))):
            reasons[folder] = f"no {' and no '.join(missing)}"
    return reasons


def _signs(sources: Sequence[str]) -> set[str]:
    """Return the stems any of which makes a folder a song, in small letters: of two sources the vocals."""
    return {"vocals"} if tuple(sources) == TWO else {name.lower() for name in sources}


def _stem_folders(root: Path, own: OwnOutput, sources: Sequence[str]) -> dict[Path, dict[str, Path]]:
    """Find the folders with stems below a root: of each, its files of sound by the name of the stem."""
    names = {*TWO, "mixture", *FOUR} if tuple(sources) == TWO else _signs(sources)
    folders: dict[Path, dict[str, Path]] = {}
    for path in find_audio(root) if root.is_dir() else ():
        if path.stem.lower() in names and not own(FoundFile(path, root)):
            folders.setdefault(path.parent, {})
    return {folder: _stem_files(folder) for folder in folders}


def _stem_files(folder: Path) -> dict[str, Path]:
    """Return the files of sound in a folder by their name in small letters; of two, the lossless one."""
    files = [path for path in folder.iterdir() if has_audio_suffix(path) and not path.name.startswith(".")]
    files.sort(key=lambda path: (path.suffix.lower() in LOSSLESS, path.name))
    return {path.stem.lower(): path for path in files}


def read_stems(song: Path, sources: Sequence[str] = TWO) -> tuple[Tensor, float]:
    """Read the stems of a song.

    An accompaniment is `accompaniment.*` where there is one, else the sum of drums, bass and other, else
    `mixture.*` minus the vocals. Files whose lengths differ by up to 0.1 s are cut to the shortest.

    Args:
        song: file or folder from `find_stem_songs`.
        sources: names of the stems.

    Returns:
        the stems `(S, C, T)` in the order of the sources, and their rate in Hz.

    Raises:
        AudioError: naming the file, where a stem is missing, or differs from the others in rate, channels or
            length.

    Example:
        >>> from torchprim.audio.find import demo_song
        >>> from torchprim.audio.stems import read_stems
        >>> from torchprim.sources import FOUR
        >>> read_stems(demo_song())[0].shape, read_stems(demo_song(), FOUR)[0].shape
        (torch.Size([2, 2, 268288]), torch.Size([4, 2, 268288]))
    """
    if song.is_file():
        stems, rate = load_stems(song)
        if tuple(sources) == TWO:
            vocals = stems.pop("vocals")
            return torch.stack([vocals, sum(stems.values())]), rate
        missing = [name for name in sources if name.lower() not in stems]
        if missing:
            raise AudioError(song, f"its stems are {', '.join(stems)}, without {' and '.join(missing)}")
        return torch.stack([stems[name.lower()] for name in sources]), rate
    files = _stem_files(song)
    if tuple(sources) != TWO:
        missing = [f"{name}.*" for name in sources if name.lower() not in files]
        if missing:
            raise AudioError(song, f"no {' and no '.join(missing)} of sound in this folder")
        stems, rate = _read_files({name: files[name.lower()] for name in sources}, song)
        return torch.stack(stems), rate
    if "vocals" not in files:
        raise AudioError(song, "no vocals.* of sound in this folder")
    others = ("accompaniment",) if "accompaniment" in files else [name for name in _OTHERS if name in files]
    others = others or [name for name in ("mixture",) if name in files]
    if not others:
        raise AudioError(song, "vocals, but neither accompaniment nor mixture nor other stems")
    (vocals, *stems), rate = _read_files({name: files[name] for name in ("vocals", *others)}, song)
    total = sum(stems)
    return torch.stack([vocals, total - vocals if others == ["mixture"] else total]), rate


def _read_files(files: dict[str, Path], song: Path) -> tuple[list[Tensor], float]:
    """Read files of one rate and number of channels, cut to the shortest: `(C, T)` each."""
    first, *others = files
    stem, rate = load_audio(files[first])
    stems = [stem]
    for path in map(files.get, others):
        other, other_rate = load_audio(path)
        if other_rate != rate or other.shape[0] != stem.shape[0]:
            of_first = f"the {first} {stem.shape[0]} at {rate} Hz"
            raise AudioError(path, f"{other.shape[0]} channels at {other_rate} Hz, but {of_first}")
        stems.append(other)
    lengths = [stem.shape[-1] for stem in stems]
    length = min(lengths)
    if max(lengths) - length > _LENGTH_TOLERANCE * rate:
        seconds = ", ".join(f"{name} {n / rate:.2f} s" for name, n in zip(files, lengths, strict=True))
        raise AudioError(song, f"stems of different lengths: {seconds}")
    return [stem[..., :length] for stem in stems], rate
