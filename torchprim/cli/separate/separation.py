"""Separation of one file: its stems on disk, and its record in `separations.jsonl`."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torchprim.cli.separate.earlier import Task
from torchprim.cli.separate.settings import Settings
from torchprim.errors import AudioError, shown
from torchprim.progress import bar as progress_bar
from torchprim.version import __version__

_SEED = 0  # of the bins that the confidence is sampled from: the same file gives the same numbers


def build_separator(settings: Settings) -> Any:
    """Build the separator on the device: primitives, of two stems or more, or a network from its checkpoint.

    On a CPU memory is returned to the system between a piece's masks, cues or a network's, and its stems.

    Raises:
        CheckpointError: where the checkpoint cannot be used.
    """
    separator = _build_separator(settings)
    if settings.device == "cpu":
        for part in separator.children():
            part.register_forward_hook(_return_freed_memory)
    return separator


def _build_separator(settings: Settings) -> Any:
    if settings.checkpoint is not None:
        from torchprim.separators.load import load

        network = load(settings.checkpoint, settings.device)
        if not settings.with_primitives:
            return network
        return network.with_primitives(settings.preset).to(settings.device).eval()

    from torchprim.separators.load import preset_separator

    return preset_separator(settings.preset, settings.method).to(settings.device).eval()


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
            stems.write(*(part.stems[name] for name in task.stems))
            trust = {name: getattr(part, name) for name in ("confidence", "silhouette", "posterior")}
            del part  # not to be held beside the next piece
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


def _return_freed_memory(*_: Any) -> None:
    """Return to the system what the C library's heap holds free, up to 200 MB in holes between the masks."""
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
