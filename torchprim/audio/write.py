"""Tensors to audio files: 32-bit float WAV and 24-bit FLAC, written atomically."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from torchprim import checks
from torchprim.audio.encode import Encoder, format_of, soundfile
from torchprim.errors import AudioError
from torchprim.files import all_replaced


def save(path: str | os.PathLike[str], audio: Tensor, sample_rate: float) -> float:
    """Write one audio file, 32-bit float WAV or 24-bit FLAC by its suffix.

    The write is atomic: the file appears under its name when it is complete and on the disk, or not at all.

    Args:
        path: ends in .wav or .flac; folders on the way are made.
        audio: `(C, T)` or `(T,)`.
        sample_rate: in Hz, a whole number.

    Returns:
        the gain applied: 1, but for FLAC 1 / max |audio| where a sample exceeds 1.

    Raises:
        AudioError: "PATH: reason" where it cannot be written (no right, a full disk, a rate or a number of
            channels that the format does not have).
        ValueError: for another suffix, or audio that is complex, empty or not finite.
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
        sample_rate: in Hz, a whole number.

    Returns:
        the gain applied to all: 1, but 1 / max |audio| over all where one is a FLAC and a sample exceeds 1.

    Raises:
        AudioError, ValueError, ImportError: as for `save`.

    Example:
        >>> import tempfile, torch
        >>> from torchprim.audio.write import save_stems
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_stems({f"{folder}/a.flac": torch.ones(9), f"{folder}/b.flac": 2 * torch.ones(9)}, 8000)
        0.5
    """
    soundfile()
    checks.positive(sample_rate, "sample_rate")
    audios, peak, limited = {}, 0.0, False
    for path, audio in stems.items():
        suffix = format_of(path)
        if isinstance(audio, Tensor) and audio.dim() > 2:
            raise ValueError(f"audio must have shape (C, T) or (T,), got {tuple(audio.shape)}")
        # On the CPU, where it is also checked for NaN.
        audio = checks.audio(audio.detach().cpu() if isinstance(audio, Tensor) else audio)
        audios[Path(path)] = audio[None] if audio.dim() == 1 else audio
        low, high = (x.item() for x in torch.aminmax(audio))
        peak, limited = max(peak, -low, high), limited or suffix == ".flac"
    gain = 1 / peak if limited and peak > 1 else 1.0

    try:
        with all_replaced(audios) as files:
            for (path, audio), file in zip(audios.items(), files, strict=True):
                with Encoder(path, file, round(sample_rate), *audio.shape) as encoder:
                    encoder.write(audio, gain)
    except OSError as error:
        raise AudioError(error.filename, f"cannot be written: {error.strerror or error}") from error
    return gain
