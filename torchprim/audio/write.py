"""Tensors to audio files, whole or stretch by stretch: float WAV, 24-bit FLAC and MP3, atomically."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchprim import checks
from torchprim.audio.encode import BITRATE, LIMITED, MOST_CHANNELS, Encoder, format_of, soundfile
from torchprim.audio.spool import Spool
from torchprim.errors import AudioError
from torchprim.files import all_replaced


def save(path: str | os.PathLike[str], audio: checks.Audio, sample_rate: float) -> float:
    """Write one audio file, 32-bit float WAV, 24-bit FLAC or MP3 of 320 kbit/s, by its suffix.

    The write is atomic: the file appears under its name when it is complete and on the disk, or not at all.

    Args:
        path: ends in .wav, .flac or .mp3; folders on the way are made.
        audio: `(C, T)` or `(T,)`.
        sample_rate: in Hz, a whole number from 1 kHz to 1 MHz.

    Returns:
        the gain applied: 1, but for FLAC and MP3 1 / max |audio| where a sample exceeds 1.

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


def save_stems(stems: Mapping[str | os.PathLike[str], checks.Audio], sample_rate: float) -> float:
    """Write several audio files that belong together, with one gain: all of them or none.

    Args:
        stems: audio `(C, T)` or `(T,)` by output path, .wav, .flac or .mp3.
        sample_rate: in Hz, a whole number from 1 kHz to 1 MHz.

    Returns:
        the gain applied to all: 1, but 1 / max |audio| over all where a sample exceeds 1 and one is no WAV.

    Raises:
        AudioError, TypeError, ValueError, ImportError: as for `save`.

    Example:
        >>> import tempfile, torch
        >>> from torchprim.audio.write import save_stems
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_stems({f"{folder}/a.flac": torch.ones(9), f"{folder}/b.flac": 2 * torch.ones(9)}, 8000)
        0.5
    """
    soundfile()
    rate = checks.file_rate(sample_rate, "sample_rate")
    if rate != int(rate):
        raise ValueError(f"sample_rate must be a whole number of Hz, got {sample_rate!r}")
    audios, peak, limited = {}, 0.0, False
    for path, audio in stems.items():
        checks.file_path(path)
        suffix = format_of(path)
        audios[Path(path)] = audio = _check(audio)
        low, high = (x.item() for x in torch.aminmax(audio))
        peak, limited = max(peak, -low, high), limited or suffix in LIMITED
    gain = 1 / peak if limited and peak > 1 else 1.0

    current = next(iter(audios), None)
    try:
        with all_replaced(audios) as files:
            for (current, audio), file in zip(audios.items(), files, strict=True):
                with Encoder(current, file, int(rate), *audio.shape) as encoder:
                    encoder.write(audio, gain)
    except OSError as error:
        path = error.filename or current
        raise AudioError(path, f"cannot be written: {error.strerror or error}") from error
    return gain


class StemWriter:
    """Writer of several files that belong together, stretch by stretch, with one gain; see `open_stems`.

    The gain is known when all has been written: samples of a FLAC or MP3 are spooled until then.
    """

    def __init__(self, encoders: Sequence[Encoder], spools: Sequence[Spool]) -> None:
        self.gain = 1.0  # as of `save_stems`, at the end
        self._encoders, self._spools, self._peak = encoders, spools, 0.0

    def write(self, *stems: Tensor) -> None:
        """Append `(C, n)` samples to each file.

        Raises:
            AudioError: "PATH: reason" where they cannot be written.
            ValueError: for samples that are not finite or beyond 1e30.
        """
        for i, stem in enumerate(stems):
            stem = checks.audio(stem.detach().cpu())
            if not self._spools:
                self._encoders[i].write(stem)
                continue
            self._peak = max(self._peak, stem.abs().amax().item())
            self._spools[i].write(self._spools[i].length, stem)

    def finish(self) -> None:
        """Encode what is spooled."""
        self.gain = 1 / self._peak if self._peak > 1 else 1.0
        for encoder, spool in zip(self._encoders, self._spools, strict=False):  # no spools of WAVs
            for block in spool:
                encoder.write(block, self.gain)


@contextlib.contextmanager
def open_stems(
    paths: Sequence[str | os.PathLike[str]],
    sample_rate: int,
    channels: int,
    length: int,
    folder: str | os.PathLike[str],
    bitrate: int = BITRATE,
) -> Iterator[StemWriter]:
    """Write several audio files of any length, as `save_stems` does: all of them or none, with one gain.

    Args:
        paths: all end in .wav, or all in .flac, or all in .mp3.
        sample_rate: in Hz.
        channels: of each.
        length: samples of each channel.
        folder: where samples of FLACs and MP3s are kept until their gain is known.
        bitrate: of MP3s in kbit/s, 64 to 320.

    Raises:
        AudioError, ValueError, ImportError: as for `save`.

    Example:
        >>> import tempfile, torch
        >>> from torchprim.audio.write import open_stems
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open_stems([f"{folder}/a.flac", f"{folder}/b.flac"], 8000, 1, 20, folder) as stems:
        ...         for _ in range(2):
        ...             stems.write(torch.ones(1, 10), 2 * torch.ones(1, 10))
        ...     stems.gain
        0.5
    """
    targets = [Path(path) for path in paths]
    limited = {format_of(path) for path in targets} <= set(LIMITED)
    try:
        with all_replaced(targets) as files, contextlib.ExitStack() as stack:
            encoders = [
                stack.enter_context(Encoder(path, file, sample_rate, channels, length, bitrate))
                for path, file in zip(targets, files, strict=True)
            ]
            stems = StemWriter(encoders, [Spool(channels, folder) for _ in targets] if limited else [])
            yield stems
            stems.finish()
    except OSError as error:
        if error.filename not in map(os.fspath, targets):  # not of `all_replaced`, but of the block
            raise
        raise AudioError(error.filename, f"cannot be written: {error.strerror or error}") from error


def _check(audio: checks.Audio) -> Tensor:
    """Return audio as `(C, T)` on the CPU, where its values are checked, too."""
    audio = checks.floating(audio, "audio", 1, "(C, T) or (T,)")
    if audio.dim() > 2:
        raise ValueError(f"audio must have shape (C, T) or (T,), got {tuple(audio.shape)}")
    if audio.is_meta or audio.layout != torch.strided:
        kind = "on the meta device" if audio.is_meta else f"of layout {audio.layout}"
        raise ValueError(f"audio must be a dense tensor with values, got one {kind}")
    audio = audio[None] if audio.dim() == 1 else audio
    if not 1 <= audio.shape[0] <= MOST_CHANNELS:
        raise ValueError(f"audio must have 1 to {MOST_CHANNELS} channels, got {audio.shape[0]}")
    return checks.recording(audio.detach().cpu(), rank=2)
