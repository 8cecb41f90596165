"""Encoder of one audio file, block by block: 32-bit float WAV, 24-bit FLAC and MP3, through libsndfile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from torchprim.errors import AudioError, writing

FORMATS = {".wav": ("WAV", "FLOAT"), ".flac": ("FLAC", "PCM_24"), ".mp3": ("MP3", "MPEG_LAYER_III")}
LIMITED = (".flac", ".mp3")  # to samples in [-1, 1]
BITRATE = 320  # of an MP3, kbit/s
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_BLOCK = 1 << 18  # frames converted at a time
MOST_CHANNELS = 1024  # of libsndfile
_WAV_LIMIT = (1 << 32) - (1 << 16)  # a WAV counts its bytes in 32 bits; longer ones are written as RF64


def soundfile() -> Any:
    """Import soundfile.

    Raises:
        ImportError: which says how to install it.
    """
    try:
        import soundfile
    except ImportError as error:
        raise ImportError("writing sound needs soundfile: pip install soundfile") from error
    return soundfile


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a path, `.wav`, `.flac` or `.mp3`.

    Raises:
        ValueError: for another one.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"path must end in .wav, .flac or .mp3, got {os.fspath(path)!r}")
    return suffix


class Encoder:
    """Encoder of one file; as a context it ends the file, which `close` does, too.

    Args:
        path: ends in .wav, .flac or .mp3; for errors.
        file: what the bytes are written to.
        sample_rate: in Hz.
        channels: number of channels.
        length: samples of each channel to come: a longer WAV is of another kind.
        bitrate: of an MP3 in kbit/s, 64 to 320; below 32 kHz MP3 has at most 160.

    Raises:
        AudioError: "PATH: cannot be written: reason", here and in all methods.
    """

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        sample_rate: int,
        channels: int,
        length: int,
        bitrate: int = BITRATE,
    ) -> None:
        form, subtype = FORMATS[path.suffix.lower()]
        if form == "WAV" and 4 * channels * length > _WAV_LIMIT:
            form = "RF64"
        self.path, self._format, self._sink = path, f"{form} {subtype}", _Sink(file)
        options = {"format": form}
        if form == "MP3":
            if sample_rate not in _MP3_RATES or channels > 2:
                found = f"{sample_rate} Hz and {channels} channel{'s' if channels > 1 else ''}"
                raise AudioError(path, f"an MP3 has 8 to 48 kHz and at most 2 channels, not {found}")
            # libsndfile spreads LAME's constant rates over [0, 1], the highest first.
            highest, lowest = (320, 32) if sample_rate >= 32000 else (160, 8)
            level = (highest - min(bitrate, highest)) / (highest - lowest)
            options |= {"bitrate_mode": "CONSTANT", "compression_level": level}
        with self._errors():
            self._sound = soundfile().SoundFile(self._sink, "w", sample_rate, channels, subtype, **options)

    def write(self, audio: Tensor, gain: float = 1.0) -> None:
        """Append samples `(C, n)` on the CPU, times a gain; one other than 1 brings all into [-1, 1]."""
        for block in audio.split(_BLOCK, -1):
            block = block.float()
            if gain != 1:
                block = (block * gain).clamp(-1, 1)  # rounding may leave the peak just above 1
            with self._errors():
                self._sound.write(block.T.contiguous().numpy())

    def close(self) -> None:
        """Write the end of the file."""
        with self._errors():
            self._sound.close()

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:  # the file will not be kept: the error that ends it counts
            with contextlib.suppress(Exception):
                self._sound.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        with writing(self.path):
            try:
                yield
            except (soundfile().SoundFileError, AssertionError, ValueError) as error:
                self._sink.check()
                reason = getattr(error, "error_string", None) or str(error)
                raise AudioError(self.path, f"cannot be written as {self._format}: {reason}") from error
            self._sink.check()


class _Sink:
    """File that libsndfile writes to through callbacks, where an exception would be printed and lost.

    The first exception is stored, and raised by `check`: so a full disk keeps its error text.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        if self.error is not None:
            return 0
        try:
            return self.file.write(data)
        except BaseException as error:
            self.error = error
            return 0

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self.file.seek(offset, whence)
        except BaseException as error:
            self.error = self.error or error
            return 0

    def tell(self) -> int:
        try:
            return self.file.tell()
        except BaseException as error:  # such as of a file that is closed, after another error
            self.error = self.error or error
            return 0

    def check(self) -> None:
        if self.error is not None:
            raise self.error
