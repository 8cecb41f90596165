"""Separation of one file: its settings, its stems on disk, and its record in `separations.jsonl`."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchprim.cli.separate import STEM_NAMES
from torchprim.cli.separate.names import DEFAULT
from torchprim.errors import AudioError, shown
from torchprim.files import open_regular
from torchprim.progress import bar as progress_bar
from torchprim.version import __version__

if TYPE_CHECKING:
    from torchprim.cli.separate.earlier import Task

_SEED = 0  # of the bins that the confidence is sampled from: the same file gives the same numbers


@dataclass(frozen=True)
class Settings:
    """Settings of a run, the same for all of its files."""

    out: Path
    device: str
    preset: str
    method: str
    format: str  # suffix of the stems: wav or flac
    checkpoint: str | None = None  # a network in place of the primitives
    with_primitives: bool = False  # the network as one more cue beside them
    digest: str | None = None  # of the checkpoint's content
    stems: tuple[str, ...] = STEM_NAMES  # to write
    template: str = DEFAULT  # of their names
    track: int | None = None  # number of the audio stream, from 1
    bitrate: int = 320  # of MP3s, kbit/s

    def fields(self) -> dict[str, Any]:
        """Return the fields of a record that a separation depends on; None is for those that it lacks."""
        chosen: dict[str, Any] = {"preset": self.preset, "method": self.method}
        if self.checkpoint is not None:
            beside = {"preset": self.preset, "method": "pcl + network"}
            alone = {"preset": "network", "method": "network"}
            chosen = beside if self.with_primitives else alone
        bitrate = self.bitrate if self.format == "mp3" else None
        return {
            **chosen,
            "checkpoint": self.digest,
            "format": self.format,
            "bitrate": bitrate,
            "audio_track": self.track,
        }

    def differences(self, record: Mapping[str, Any]) -> str:
        """Describe in which fields a record differs, such as "preset best, not paper"; empty for none."""
        fields = self.fields().items()
        pairs = [(name, record.get(name), value) for name, value in fields if record.get(name) != value]
        return " and ".join(
            f"{name.replace('_', ' ')} {_or_none(old)}, not {_or_none(new)}" for name, old, new in pairs
        )


def _or_none(value: Any) -> Any:
    return "none" if value is None else value


def digest_of(checkpoint: str) -> str:
    """Hash the content of a checkpoint: stems of another one are made anew.

    Raises:
        AudioError: "PATH: reason" where it cannot be read.
    """
    try:
        with open_regular(checkpoint) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise AudioError(checkpoint, (error.strerror or str(error)).lower()) from error


def build_separator(settings: Settings) -> Any:
    """Build the separator on the device: primitives, or a network from its checkpoint.

    Raises:
        CheckpointError: where the checkpoint cannot be used.
    """
    if settings.checkpoint is not None:
        from torchprim.separators.load import load

        network = load(settings.checkpoint, settings.device)
        if not settings.with_primitives:
            return network
        return network.with_primitives(settings.preset).to(settings.device).eval()

    from torchprim.separators.primitive import PrimitiveSeparator

    return PrimitiveSeparator(settings.preset, settings.method).to(settings.device).eval()


def separate_file(task: Task, separator: Any, settings: Settings) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Separate one file and write its stems, piece by piece: memory does not grow with its length.

    Args:
        task: the file and its stems.
        separator: from `build_separator`.
        settings: of the run.

    Returns:
        the record, and notes on parts of the file that could not be decoded.
    """
    import torch

    from torchprim.audio.load import record
    from torchprim.audio.write import open_stems

    file = task.file
    status = os.stat(file.path)
    samples, rate, notes = record(file.path, settings.out, settings.track)
    paths = [settings.out / path for path in task.stems.values()]
    if settings.format == "wav" or samples.on_disk:  # others are spooled like the song
        _check_space(settings.out, len(paths) * samples.nbytes)
    with (
        _removed_if_empty(paths),
        torch.inference_mode(),
        progress_bar(shown(file.path.name), unit="piece", leave=False) as bar,
        open_stems(paths, rate, samples.channels, samples.length, settings.out, settings.bitrate) as stems,
    ):

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        for part in separator.stream(
            lambda start, stop: samples.read(start, stop).to(settings.device),
            samples.length,
            rate,
            channels=True,
            generator=torch.Generator(settings.device).manual_seed(_SEED),
            progress=progress,
        ):
            stems.write(*(getattr(part, name) for name in task.stems))
            trust = {name: getattr(part, name) for name in ("confidence", "silhouette", "posterior")}
            del part  # not to be held beside the next piece
            if settings.device == "cpu":
                _return_freed_memory()
    result = {
        "path": file.key,
        "seconds": samples.length / rate,
        **{name: value.item() for name, value in trust.items()},
        **{name: value for name, value in settings.fields().items() if value is not None},
        "version": __version__,
        "sample_rate": rate,
        "channels": samples.channels,
        "gain": stems.gain,
        "output": task.song.as_posix(),
        "stems": {name: path.as_posix() for name, path in task.stems.items()},
        "size": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "notes": list(notes),
    }
    return result, notes


def _return_freed_memory() -> None:
    """Return to the system what the C library's heap holds free, which grew by 1 to 2 MB a piece."""
    with contextlib.suppress(OSError, AttributeError):  # only glibc has this function
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def _removed_if_empty(paths: list[Path]) -> Iterator[None]:
    """Remove the folders of files, and those above them, where an error leaves them empty."""
    try:
        yield
    except BaseException:
        for folder in {path.parent for path in paths}:
            with contextlib.suppress(OSError):
                os.removedirs(folder)
        raise


def remove_replaced(task: Task, out: Path) -> None:
    """Remove the stems of an earlier run that the new ones replace, and folders that are empty then."""
    for path in task.replaced:
        with contextlib.suppress(OSError):
            (out / path).unlink()
            os.removedirs((out / path).parent)


def _check_space(out: Path, needed: int) -> None:
    """Raise an error before minutes of work where the stems cannot fit on the disk."""
    free = shutil.disk_usage(out).free
    if free < needed:
        raise AudioError(
            out, f"the disk is full: {needed / 1e6:.1f} MB are needed, {free / 1e6:.1f} are free"
        )
