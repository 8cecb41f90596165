"""Tensors to audio files: 32-bit float WAV and 24-bit FLAC, written atomically."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from torchprim import checks
from torchprim.errors import AudioError
from torchprim.files import all_replaced

_FORMATS = {".wav": ("WAV", "FLOAT"), ".flac": ("FLAC", "PCM_24")}
_BLOCK = 1 << 18  # frames converted at a time
_MOST_CHANNELS = 1024  # of libsndfile
_WAV_LIMIT = (1 << 32) - (1 << 16)  # a WAV counts its bytes in 32 bits; longer ones are written as RF64


def save(path: str | os.PathLike[str], audio: Tensor, sample_rate: float) -> float:
    """Write one audio file, 32-bit float WAV or 24-bit FLAC by its suffix.

    The write is atomic: the file appears under its name when it is complete and on the disk, or not at all.

    Args:
        path: ends in .wav or .flac; folders on the way are made.
        audio: `(C, T)` or `(T,)`.
        sample_rate: in Hz, a whole number from 1 kHz to 1 MHz.

    Returns:
        the gain applied: 1, but for FLAC 1 / max |audio| where a sample exceeds 1.

    Raises:
        AudioError: "PATH: reason" where it cannot be written (no right, a full disk, a rate or a number of
            channels that the format does not have).
        TypeError: for a path that is neither a `str` nor an `os.PathLike[str]`.
        ValueError: for another suffix, another rate, or audio that is complex, empty, without values, of more
            than 1024 channels, not finite or beyond 1e30.
        ImportError: without soundfile.

    Example:
        >>> import tempfile, torch
        >>> from torchprim.audio.load import load_audio
        >>> from torchprim.audio.write import save
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gain = save(f"{folder}/x.wav", torch.full((2, 10), 1.5), 8000)
        ...     gain, load_audio(f"{folder}/x.wav")[0].max().item()
        (1.0, 1.5)
    """
    return save_stems({path: audio}, sample_rate)


def save_stems(stems: Mapping[str | os.PathLike[str], Tensor], sample_rate: float) -> float:
    """Write several audio files that belong together, with one gain: all of them or none.

    Args:
        stems: audio `(C, T)` or `(T,)` by output path, .wav or .flac.
        sample_rate: in Hz, a whole number from 1 kHz to 1 MHz.

    Returns:
        the gain applied to all: 1, but 1 / max |audio| over all where one is a FLAC and a sample exceeds 1.

    Raises:
        AudioError, TypeError, ValueError, ImportError: as for `save`.

    Example:
        >>> import tempfile, torch
        >>> from torchprim.audio.write import save_stems
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_stems({f"{folder}/a.flac": torch.ones(9), f"{folder}/b.flac": 2 * torch.ones(9)}, 8000)
        0.5
    """
    _soundfile()
    rate = checks.file_rate(sample_rate, "sample_rate")
    if rate != int(rate):
        raise ValueError(f"sample_rate must be a whole number of Hz, got {sample_rate!r}")
    audios, peak, limited = {}, 0.0, False
    for path, audio in stems.items():
        checks.file_path(path)
        suffix = Path(path).suffix.lower()
        if suffix not in _FORMATS:
            raise ValueError(f"path must end in .wav or .flac, got {os.fspath(path)!r}")
        audios[Path(path)] = audio = _check(audio)
        low, high = (x.item() for x in torch.aminmax(audio))
        peak, limited = max(peak, -low, high), limited or suffix == ".flac"
    gain = 1 / peak if limited and peak > 1 else 1.0

    current = next(iter(audios), None)
    try:
        with all_replaced(audios) as files:
            for (current, audio), file in zip(audios.items(), files, strict=True):
                _encode(current, file, audio, int(rate), gain)
    except OSError as error:
        path = error.filename or current
        raise AudioError(path, f"cannot be written: {error.strerror or error}") from error
    return gain


def _check(audio: Tensor) -> Tensor:
    """Return audio as `(C, T)` on the CPU, where its values are checked, too."""
    audio = checks.floating(audio, "audio", 1, "(C, T) or (T,)")
    if audio.dim() > 2:
        raise ValueError(f"audio must have shape (C, T) or (T,), got {tuple(audio.shape)}")
    if audio.is_meta or audio.layout != torch.strided:
        kind = "on the meta device" if audio.is_meta else f"of layout {audio.layout}"
        raise ValueError(f"audio must be a dense tensor with values, got one {kind}")
    audio = audio[None] if audio.dim() == 1 else audio
    if not 1 <= audio.shape[0] <= _MOST_CHANNELS:
        raise ValueError(f"audio must have 1 to {_MOST_CHANNELS} channels, got {audio.shape[0]}")
    return checks.audio(audio.detach().cpu())


def _soundfile() -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise ImportError("writing sound needs soundfile: pip install soundfile") from error
    return soundfile


def _encode(path: Path, file: BinaryIO, audio: Tensor, sample_rate: int, gain: float) -> None:
    soundfile = _soundfile()
    form, subtype = _FORMATS[path.suffix.lower()]
    if form == "WAV" and 4 * audio.numel() > _WAV_LIMIT:
        form = "RF64"
    sink = _Sink(file)
    try:
        with soundfile.SoundFile(sink, "w", sample_rate, audio.shape[0], subtype, format=form) as sound:
            for start in range(0, audio.shape[1], _BLOCK):
                block = audio[:, start : start + _BLOCK].float()
                if gain != 1:
                    block = (block * gain).clamp(-1, 1)  # rounding may leave the peak just above 1
                sound.write(block.T.contiguous().numpy())
                sink.check()
    except (soundfile.SoundFileError, AssertionError, ValueError) as error:
        sink.check()
        reason = getattr(error, "error_string", None) or str(error)
        raise AudioError(path, f"cannot be written as {form} {subtype}: {reason}") from error
    sink.check()


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
        return self.file.tell()

    def check(self) -> None:
        if self.error is not None:
            raise self.error
