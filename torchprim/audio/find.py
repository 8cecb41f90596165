"""Find files of sound: below folders, and the demo song inside a wheel."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from torchprim.errors import AudioError

_LOSSLESS = (".wav", ".w64", ".rf64", ".aif", ".aiff", ".aifc", ".au", ".caf", ".flac", ".ape", ".wv")
_LOSSY = (".ogg", ".oga", ".opus", ".mp3", ".mp2", ".m4a", ".mp4", ".aac", ".ac3", ".wma", ".mka")


def find_audio(folder: str | os.PathLike, on_error: Callable[[AudioError], None] | None = None) -> list[Path]:
    """Every file below a folder whose name is that of a file of sound, sorted.

    Hidden files and folders are left out (macOS writes a `._song.mp3` beside `song.mp3`). Links to
    folders are followed, each folder once.

    Args:
        folder: where to look.
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
        found += [
            Path(here, name)
            for name in files
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in _LOSSLESS + _LOSSY
        ]
    return sorted(found)


def demo_song() -> Path:
    """The song with known stems inside the `stempeg` wheel (The Easton Ellises, "Falcon 69", 6 s).

    stempeg is found and not imported: importing it fails where the system has no ffmpeg.

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
