"""Find audio files: among files and folders, without what torchprim wrote; and the demo song in a wheel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from torchprim.checks import URL, is_url
from torchprim.errors import AudioError
from torchprim.files import read_json_lines

SEPARATIONS = "separations.jsonl"  # records of `torchprim separate` in its output folder
_STEMS = frozenset(
    f"{stem}.{suffix}" for stem in ("vocals", "accompaniment") for suffix in ("wav", "flac", "mp3")
)
_TRUE_STEMS = ("drums", "bass", "other", "mixture")  # beside vocals that somebody else wrote
_EXAMPLES = frozenset(f"{name}.wav" for name in ("mixture", "vocals_target", "vocals_estimate"))
_DEMO = frozenset(f"{name}.wav" for name in ("mixture", "vocals", "accompaniment"))
LOSSLESS = (".wav", ".w64", ".rf64", ".aif", ".aiff", ".aifc", ".au", ".caf", ".flac", ".ape", ".wv")
_LOSSY = (".ogg", ".oga", ".opus", ".mp3", ".mp2", ".m4a", ".mp4", ".aac", ".ac3", ".wma", ".mka")
_FILMS = (".mkv", ".webm", ".mov")


class FoundFile(NamedTuple):
    """A file, and the given folder that it was found below; None for a file that was given itself."""

    path: Path
    folder: Path | None


def has_audio_suffix(name: str | os.PathLike[str]) -> bool:
    """Return whether a file's name ends as those of audio files do."""
    return os.path.splitext(name)[1].lower() in LOSSLESS + _LOSSY + _FILMS


class _Known(NamedTuple):
    """Inputs and stems of the records of a folder, absolute paths."""

    inputs: set[str]
    stems: set[str]


class OwnOutput:
    """Recognise, and count, the audio files below a given folder that torchprim wrote, to leave them out.

    They are the stems of `torchprim separate` (below a folder with its records, which are no input of it
    and lie beside no other stems), the examples of `torchprim train`, and what `torchprim demo` wrote. So
    output may lie inside the music. A file that is given itself is none, but for stems below `out`.

    Args:
        out: output folder of this run, if it has one.

    Attributes:
        count: number of files recognised.

    Example:
        >>> import tempfile
        >>> from torchprim.audio.find import OwnOutput, find_files
        >>> with tempfile.TemporaryDirectory() as music:
        ...     for name in ("song.wav", "run/log.jsonl", "run/examples/0000100/mixture.wav"):
        ...         Path(music, name).parent.mkdir(parents=True, exist_ok=True)
        ...         Path(music, name).touch()
        ...     [file.path.name for file in find_files([music], exclude=OwnOutput())]
        ['song.wav']
    """

    def __init__(self, out: Path | None = None) -> None:
        self.out, self.count = out, 0
        self._known: dict[Path, _Known | None] = {}

    def __call__(self, file: FoundFile) -> bool:
        path = Path(os.path.abspath(file.path))
        below = file.folder is not None
        own = self._is_stem(path, file.folder) or (below and (_is_example(path) or _is_demo(path)))
        self.count += own
        return own

    def _is_stem(self, path: Path, folder: Path | None) -> bool:
        roots = {Path(os.path.abspath(root)) for root in (self.out, folder) if root is not None}
        # From the file up to the highest of `out` and the given folder that it lies below.
        depths = [depth for depth, parent in enumerate(path.parents) if parent in roots]
        known = [self._known_of(parent) for parent in path.parents[: max(depths, default=-1) + 1]]
        recorded = [records for records in known if records is not None]
        if any(str(path) in records.inputs for records in recorded):
            return False
        if any(str(path) in records.stems for records in recorded):
            return True
        if not recorded or path.name not in _STEMS:
            return False
        return not any((path.parent / f"{name}{path.suffix}").exists() for name in _TRUE_STEMS)

    def _known_of(self, folder: Path) -> _Known | None:
        """Return what was separated into a folder; None for a folder without records."""
        path = folder / SEPARATIONS
        if folder not in self._known:
            records = _records(path) if path.is_file() else None
            self._known[folder] = (
                None
                if records is None
                else _Known(
                    {str(record.get("path")) for record in records},
                    {str(folder / stem) for record in records for stem in _stems(record)},
                )
            )
        return self._known[folder]


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        return read_json_lines(path)
    except OSError:  # no right to read: output it is all the same
        return []


def _stems(record: dict[str, Any]) -> list[str]:
    stems = record.get("stems")
    return [path for path in stems.values() if isinstance(path, str)] if isinstance(stems, dict) else []


def _is_example(path: Path) -> bool:
    """Return whether a file is an example in the folder of a run of `torchprim train`."""
    if path.name not in _EXAMPLES or len(path.parents) < 3 or path.parents[1].name != "examples":
        return False
    return any((path.parents[2] / name).is_file() for name in ("log.jsonl", "last.pt"))


def _is_demo(path: Path) -> bool:
    return path.name in _DEMO and all((path.parent / name).is_file() for name in (*_DEMO, "report.html"))


def find_files(
    paths: Iterable[str | os.PathLike[str]],
    on_error: Callable[[AudioError], None] | None = None,
    exclude: Callable[[FoundFile], bool] | None = None,
) -> list[FoundFile]:
    """List the files among `paths` and the audio files below the folders among them, in their order.

    A file that is reached twice (relative and absolute, or given beside its folder) is listed once, as it
    was reached first. Files that are given themselves may have any name.

    Args:
        paths: files and folders.
        on_error: called for each path that does not exist, each folder that cannot be listed, and each
            folder without an audio file. By default the first two raise, and the third is no error.
        exclude: whether to leave a file out.

    Raises:
        AudioError: without `on_error`, for a path that does not exist or a folder that cannot be listed.

    Example:
        >>> from torchprim.audio.find import demo_song, find_files
        >>> song = demo_song()
        >>> [file.path == song for file in find_files([song, song.parent])]
        [True]
    """
    found: dict[str, FoundFile] = {}
    for given in paths:
        errors: list[AudioError] = []
        files = [file for file in _expand(given, errors.append) if exclude is None or not exclude(file)]
        if on_error is None and errors:
            raise errors[0]
        if on_error is not None:
            if not files and not errors and Path(given).is_dir():
                errors = [AudioError(given, "no audio file in this folder")]
            for error in errors:
                on_error(error)
        for file in files:
            found.setdefault(os.path.abspath(file.path), file)
    return list(found.values())


def _expand(given: str | os.PathLike[str], on_error: Callable[[AudioError], None]) -> list[FoundFile]:
    """List one path, or the audio files below it."""
    try:
        path = Path(given)
        if os.fspath(given) and path.exists():
            if not path.is_dir():
                return [FoundFile(path, None)]
            return [FoundFile(file, path) for file in find_audio(path, on_error)]
        reason = URL if is_url(given) else "no such file or folder"
    except (OSError, ValueError) as error:  # such as a name that is too long
        reason = getattr(error, "strerror", None) or str(error)
    on_error(AudioError(given or "''", reason))
    return []


def find_audio(
    folder: str | os.PathLike[str], on_error: Callable[[AudioError], None] | None = None
) -> list[Path]:
    """List the audio files below a folder, by their suffix, sorted.

    Hidden files and folders are left out (macOS writes a `._song.mp3` beside `song.mp3`). Links to
    folders are followed, each folder once.

    Args:
        folder: the folder to walk.
        on_error: called for each folder that cannot be listed; by default that raises.

    Raises:
        AudioError: where the folder, or one below it, cannot be listed.

    Example:
        >>> from torchprim.audio.find import demo_song, find_audio
        >>> [path.name for path in find_audio(demo_song().parent)]
        ['The Easton Ellises - Falcon 69.stem.mp4']
    """

    def refuse(error: OSError) -> None:
        problem = AudioError(error.filename or folder, error.strerror or str(error))
        if on_error is None:
            raise problem from error
        on_error(problem)

    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for here, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(here)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(here, name) for name in files if not name.startswith(".") and has_audio_suffix(name)]
    return sorted(found)


def demo_song() -> Path:
    """Return the path of the song with stems in the `stempeg` wheel (The Easton Ellises, "Falcon 69", 6 s).

    stempeg is located, not imported: importing it fails where the system has no ffmpeg.

    Raises:
        ImportError: where stempeg is not installed.

    Example:
        >>> from torchprim.audio.find import demo_song
        >>> demo_song().name
        'The Easton Ellises - Falcon 69.stem.mp4'
    """
    spec = find_spec("stempeg")
    songs = sorted(Path(spec.origin).parent.glob("data/*.stem.mp4")) if spec and spec.origin else []
    if not songs:
        raise ImportError("the demo's song is inside the stempeg package: pip install stempeg")
    return songs[0]
