"""Separation of one file: its settings, its stems on disk, and its record in `separations.jsonl`."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from torchprim.errors import AudioError
from torchprim.files import open_regular
from torchprim.version import __version__

if TYPE_CHECKING:
    from torchprim.cli.inputs import InputFile

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

    def fields(self) -> dict[str, str]:
        """Return the fields of a record that a separation depends on."""
        if self.checkpoint is None:
            return {"preset": self.preset, "method": self.method, "format": self.format}
        beside = {"preset": self.preset, "method": "pcl + network"}
        alone = {"preset": "network", "method": "network"}
        chosen = beside if self.with_primitives else alone
        return {**chosen, "format": self.format, "checkpoint": self.digest}


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


def is_done(file: InputFile, record: dict[str, Any] | None, settings: Settings) -> bool:
    """Check that the stems exist, of the file as it is now, made with the same settings."""
    from torchprim.cli.inputs import STEM_NAMES

    if record is None:
        return False
    try:
        status = os.stat(file.path)
    except OSError:
        return False
    expected = {"size": status.st_size, "modified_ns": status.st_mtime_ns, **settings.fields()}
    folder = settings.out / record.get("output", "")
    return all(record.get(key) == value for key, value in expected.items()) and all(
        (folder / f"{name}.{settings.format}").is_file() for name in STEM_NAMES
    )


def build_separator(settings: Settings) -> Any:
    """Build the separator on the device: primitives, or a network from its checkpoint.

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

    from torchprim.separators.primitive import PrimitiveSeparator

    return PrimitiveSeparator(settings.preset, settings.method).to(settings.device).eval()


def separate_file(
    file: InputFile, folder: PurePath, separator: Any, settings: Settings
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Separate one file and write its stems, piece by piece: memory does not grow with its length.

    Args:
        file: the file.
        folder: of its stems, relative to the output folder.
        separator: from `build_separator`.
        settings: of the run.

    Returns:
        the record, and notes on parts of the file that could not be decoded.
    """
    import torch
    from tqdm import tqdm

    from torchprim.audio.load import record
    from torchprim.audio.write import open_stems
    from torchprim.cli.inputs import STEM_NAMES

    status = os.stat(file.path)
    samples, rate, notes = record(file.path, settings.out)
    target = settings.out / folder
    paths = [target / f"{name}.{settings.format}" for name in STEM_NAMES]
    if settings.format == "wav" or samples.on_disk:  # stems of FLAC are spooled like the song
        _check_space(settings.out, len(paths) * samples.nbytes)
    with (
        _removed_if_empty(target),
        torch.inference_mode(),
        tqdm(desc=file.path.name, unit="piece", leave=False, disable=None, dynamic_ncols=True) as bar,
        open_stems(paths, rate, samples.channels, samples.length, settings.out) as stems,
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
            stems.write(part.vocals, part.accompaniment)
            trust = {name: getattr(part, name) for name in ("confidence", "silhouette", "posterior")}
            del part  # not to be held beside the next piece
    result = {
        "path": file.key,
        "seconds": samples.length / rate,
        **{name: value.item() for name, value in trust.items()},
        **settings.fields(),
        "version": __version__,
        "sample_rate": rate,
        "channels": samples.channels,
        "gain": stems.gain,
        "output": folder.as_posix(),
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
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove a folder, and those above it, where an error leaves them empty."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.removedirs(folder)
        raise


def _check_space(out: Path, needed: int) -> None:
    """Raise an error before minutes of work where the stems cannot fit on the disk."""
    free = shutil.disk_usage(out).free
    if free < needed:
        raise AudioError(
            out, f"the disk is full: {needed / 1e6:.1f} MB are needed, {free / 1e6:.1f} are free"
        )
