"""Stems with their masks and confidence: written to a folder, in one line, or played in a notebook."""

from __future__ import annotations

import base64
import html
import io
import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.audio.downmix import downmix
from torchprim.audio.resampling import resample
from torchprim.audio.write import save_stems
from torchprim.sources import TWO

_PLAYED_RATE = 24000  # Hz, mono: half a megabyte for two stems of a minute
_COMPRESSION = 0.6  # of MP3 at a constant rate, from 0 to 1: some 32 kbit/s


class Separation(NamedTuple):
    """Two stems, the mask, and its confidence. Leading dimensions are those of the audio."""

    vocals: Tensor  # like the audio, (..., T) or (..., C, T)
    accompaniment: Tensor  # mixture minus vocals
    mask: Tensor | None  # (..., F, N) on the separator's grid
    confidence: Tensor  # (...)
    silhouette: Tensor  # (...)
    posterior: Tensor  # (...)
    masks: dict[str, Tensor]  # each cue's mask by name
    sample_rate: float  # of the stems, in Hz

    def save(self, folder: str | os.PathLike[str], format: str = "wav") -> list[Path]:
        """Write both stems of one recording, as `vocals.wav` and `accompaniment.wav`: both or none.

        Args:
            folder: where they will be; folders on the way are made.
            format: `wav`, 32-bit float, or `flac`, 24-bit, with one gain for both where a sample exceeds 1.

        Returns:
            the two paths.

        Raises:
            AudioError: "PATH: reason" where they cannot be written.
            ValueError: for another format, or stems of several recordings.

        Example:
            >>> import tempfile, torch, torchprim as tp
            >>> stems = tp.PrimitiveSeparator(method="hpss")(torch.randn(2, 44100) / 10, 44100, channels=True)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     [path.name for path in stems.save(folder)]
            ['vocals.wav', 'accompaniment.wav']
        """
        return _save(self.stems, self.confidence, self.sample_rate, folder, format)

    @property
    def stems(self) -> dict[str, Tensor]:
        """Both stems by name."""
        return dict(zip(TWO, (self.vocals, self.accompaniment), strict=True))

    def __repr__(self) -> str:
        what = f"vocals and accompaniment {tuple(self.vocals.shape)}"
        return f"Separation({what}, {_described(self.vocals, self.sample_rate, self.confidence, self.masks)})"

    def _repr_html_(self) -> str:
        """Show both stems as players in a notebook, mono and small; of a batch the line alone."""
        return _players(repr(self), self.stems, self.confidence, self.sample_rate)


class StemSeparation(NamedTuple):
    """Stems by name, their masks, and the confidence. Leading dimensions are those of the audio."""

    stems: dict[str, Tensor]  # like the audio, (..., T) or (..., C, T); they add up to it
    mask: Tensor | None  # (..., K, F, N) on the separator's grid, of the stems in order; adds up to 1
    confidence: Tensor  # (...)
    silhouette: Tensor  # (...)
    posterior: Tensor  # (...)
    masks: dict[str, Tensor]  # each cue's mask by name
    sample_rate: float  # of the stems, in Hz

    def save(self, folder: str | os.PathLike[str], format: str = "wav") -> list[Path]:
        """Write all stems of one recording, as `drums.wav` and so on: all or none.

        Args:
            folder: where they will be; folders on the way are made.
            format: `wav`, 32-bit float, or `flac`, 24-bit, with one gain for all where a sample exceeds 1.

        Returns:
            the paths, in the order of the stems.

        Raises:
            AudioError: "PATH: reason" where they cannot be written.
            ValueError: for another format, or stems of several recordings.

        Example:
            >>> import tempfile, torch, torchprim as tp
            >>> result = tp.StemSeparator()(torch.randn(44100) / 10, 44100)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     [path.name for path in result.save(folder)]
            ['drums.wav', 'bass.wav', 'other.wav', 'vocals.wav']
        """
        return _save(self.stems, self.confidence, self.sample_rate, folder, format)

    def __repr__(self) -> str:
        first = next(iter(self.stems.values()))
        what = f"{', '.join(self.stems)} {tuple(first.shape)}"
        return f"StemSeparation({what}, {_described(first, self.sample_rate, self.confidence, self.masks)})"

    def _repr_html_(self) -> str:
        """Show the stems as players in a notebook, mono and small; of a batch the line alone."""
        return _players(repr(self), self.stems, self.confidence, self.sample_rate)


def _save(
    stems: dict[str, Tensor], confidence: Tensor, rate: float, folder: str | os.PathLike[str], format: str
) -> list[Path]:
    """Write the stems of one recording to a folder; return their paths."""
    first = next(iter(stems.values()))
    if first.dim() - confidence.dim() not in (1, 2) or confidence.dim():
        raise ValueError(
            f"save takes the stems of one recording, got a batch of shape {tuple(confidence.shape)}"
        )
    paths = {Path(folder, f"{name}.{format}"): stem for name, stem in stems.items()}
    save_stems(paths, rate)
    return list(paths)


def _described(stem: Tensor, rate: float, confidence: Tensor, masks: dict[str, Tensor]) -> str:
    seconds = stem.shape[-1] / rate
    cues = f", masks of {', '.join(masks)}" if masks else ""
    return f"{seconds:.2f} s at {rate:g} Hz on {stem.device}, confidence {_number(confidence)}{cues}"


def _players(line: str, stems: dict[str, Tensor], confidence: Tensor, rate: float) -> str:
    """Return an HTML player of each stem below a line; of a batch the line alone."""
    line = f"<p>{html.escape(line)}</p>"
    if confidence.dim():
        return line
    return line + "".join(f"<p>{name}<br>{_player(stem, rate)}</p>" for name, stem in stems.items())


def _number(value: Tensor) -> str:
    return f"{value.item():.3f}" if value.numel() == 1 else f"of shape {tuple(value.shape)}"


def _player(stem: Tensor, sample_rate: float) -> str:
    """Return an HTML player of a stem `(T,)` or `(C, T)`, as MP3 within the page."""
    from torchprim.audio.encode import soundfile

    stem = stem.detach().float().cpu()
    stem = resample(stem if stem.dim() == 1 else downmix(stem), sample_rate, _PLAYED_RATE)
    stem = stem / torch.clamp(stem.abs().amax(), min=1)
    file = io.BytesIO()
    coding = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": _COMPRESSION}
    soundfile().write(file, stem.numpy(), _PLAYED_RATE, **coding)
    content = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<audio controls src="data:audio/mpeg;base64,{content}"></audio>'
