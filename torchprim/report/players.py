"""Sounds of an HTML page: MP3, which all browsers decode, small enough to send."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

from torch import Tensor

from torchprim import checks
from torchprim.audio.downmix import downmix
from torchprim.audio.resampling import resample

PAGE = 5.8e6  # bytes that a page should have at most, with its sounds
_OVERSHOOT = 1.07  # of a mean bit rate
_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # sample rates of MP3
_HIGHEST = 192_000  # bits per second: more is not heard
_STEREO = 40_000  # bits per second, below which one channel sounds better than two
_LOWEST = 32_000
# Bits per second of two channels -> highest sample rate in Hz, as LAME itself would choose.
_BANDWIDTHS = ((112_000, 48000), (72_000, 32000), (0, 24000))


class Coding(NamedTuple):
    """How sounds are encoded: mean bits per second, channels, and sample rate in Hz."""

    bits_per_second: int
    channels: int
    sample_rate: int


def choose_coding(
    seconds: float, sounds: int, channels: int, sample_rate: float, size: float = PAGE
) -> Coding:
    """Choose how to encode each sound, so that all of them fit into a page.

    Up to 192 kbit/s; a longer song gets fewer, with the sample rate that suits these. Below 40 kbit/s, for
    two sounds from about 6 minutes, one channel of 32 kbit/s is left: beyond 8 minutes that takes more.

    Args:
        seconds: duration of each.
        sounds: their number.
        channels: of each.
        sample_rate: of each, in Hz.
        size: bytes of all of them, in base64.

    Raises:
        ValueError: for a duration or rate that is not positive, no sounds, or no channels.

    Example:
        >>> from torchprim.report.players import choose_coding
        >>> choose_coding(30, 2, 2, 44100)
        Coding(bits_per_second=192000, channels=2, sample_rate=44100)
        >>> choose_coding(300, 2, 2, 44100), choose_coding(3600, 2, 2, 44100).channels
        (Coding(bits_per_second=54000, channels=2, sample_rate=24000), 1)
    """
    checks.positive(seconds, "seconds")
    checks.integer(sounds, "sounds", 1)
    checks.integer(channels, "channels", 1)
    raw = size * 3 / 4 / _OVERSHOOT  # base64 adds a third
    fitting = min(_HIGHEST, raw * 8 / seconds / sounds // 1000 * 1000)
    channels = 2 if channels == 2 and fitting >= _STEREO else 1
    bits = int(max(_LOWEST, fitting))
    highest = next(rate for least, rate in _BANDWIDTHS if bits * 2 / channels >= least)
    wanted = checks.positive(sample_rate, "sample_rate")
    return Coding(bits, channels, _mp3_rate(wanted if wanted <= highest else highest))


def _mp3_rate(sample_rate: float) -> int:
    return next(rate for rate in _RATES if rate >= min(sample_rate, _RATES[-1]))


def mp3(audio: Tensor, sample_rate: float, coding: Coding | None = None) -> bytes:
    """Encode as MP3 of a mean bit rate, through libsndfile (LAME).

    Args:
        audio: `(C, T)`, in [-1, 1]; channels become their mean where one is asked for.
        sample_rate: in Hz.
        coding: from `choose_coding`; by default that of one short sound.

    Returns:
        the bytes of the file.

    Raises:
        ValueError: for audio that is not `(C, T)` or not finite.
        ImportError: without soundfile.

    Example:
        >>> import torch
        >>> from torchprim.report.players import mp3
        >>> 18_000 < len(mp3(torch.randn(2, 44100) / 10, 44100)) < 34_000
        True
    """
    checks.audio(audio, rank=2)
    if audio.dim() != 2:
        raise ValueError(f"audio must have shape (C, T), got {tuple(audio.shape)}")
    try:
        import soundfile
    except ImportError as error:
        raise ImportError("players need soundfile: pip install soundfile") from error
    coding = coding or choose_coding(1.0, 1, audio.shape[0], sample_rate)
    audio = audio.detach().float().cpu()
    if audio.shape[0] != coding.channels:
        audio = downmix(audio)[None]
    rate = coding.sample_rate
    audio = resample(audio, sample_rate, rate).clamp(-1, 1)
    # libsndfile spreads LAME's rates over [0, 1]: 320 to 32 kbit/s from 32 kHz up, 160 to 8 below.
    highest, lowest = (320_000, 32_000) if rate >= 32000 else (160_000, 8_000)
    level = min(1.0, max(0.0, (highest - coding.bits_per_second) / (highest - lowest)))
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer,
        "w",
        samplerate=rate,
        channels=audio.shape[0],
        format="MP3",
        compression_level=level,
        bitrate_mode="AVERAGE",  # what silence leaves goes to what is loud
    ) as file:
        file.write(audio.T.contiguous().numpy())
    return buffer.getvalue()


def audio_source(audio: Tensor, sample_rate: float, coding: Coding) -> str:
    """Encode the audio as a `data:` URL for `<audio src=...>`: MP3 in base64.

    Args:
        audio: `(C, T)`.
        sample_rate: in Hz.
        coding: as for `mp3`.

    Returns:
        the URL.

    Raises:
        ValueError: as `mp3`.

    Example:
        >>> import torch
        >>> from torchprim.report.players import audio_source, choose_coding
        >>> audio_source(torch.zeros(1, 4410), 44100, choose_coding(0.1, 1, 1, 44100))[:22]
        'data:audio/mpeg;base64'
    """
    return "data:audio/mpeg;base64," + base64.b64encode(mp3(audio, sample_rate, coding)).decode()
