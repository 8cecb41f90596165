"""Audio players of an HTML page: MP3, which all browsers play, small enough to send."""

from __future__ import annotations

import base64
import io

from torch import Tensor

from torchprim import checks
from torchprim.audio.downmix import downmix
from torchprim.audio.resampling import resample

BUDGET = 10.5e6  # bytes of all players before base64, which adds a third
_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # sample rates of MP3


def bit_rate(seconds: float, players: int) -> int:
    """Choose the bit rate of each player, 48 to 192 kbit/s, so that all of them fit the budget.

    Args:
        seconds: duration of each.
        players: number of players.

    Returns:
        bits per second, a multiple of 16,000.

    Raises:
        ValueError: for a duration that is not positive, or no players.

    Example:
        >>> from torchprim.report.players import bit_rate
        >>> bit_rate(30, 3), bit_rate(240, 3), bit_rate(3600, 3)
        (192000, 112000, 48000)
    """
    checks.positive(seconds, "seconds")
    checks.integer(players, "players", 1)
    fitting = BUDGET * 8 / seconds / players
    return int(min(192_000, max(48_000, fitting // 16_000 * 16_000)))


def _mp3_rate(sample_rate: float) -> int:
    higher = [rate for rate in _RATES if rate >= sample_rate]
    # 96 and 192 kHz become 48, 88.2 becomes 44.1: integer ratios resample best.
    return higher[0] if higher else (44100 if sample_rate % 44100 == 0 else 48000)


def mp3(audio: Tensor, sample_rate: float, bits_per_second: int = 192_000) -> bytes:
    """Encode as MP3, through libsndfile (LAME).

    Args:
        audio: `(C, T)`, in [-1, 1]; more than two channels become their mean.
        sample_rate: in Hz; resampled to the next higher rate of MP3.
        bits_per_second: 32,000 to 320,000.

    Returns:
        the bytes of the file.

    Raises:
        ValueError: for audio that is not `(C, T)` or not finite, or bits out of range.
        ImportError: without soundfile.

    Example:
        >>> import torch
        >>> from torchprim.report.players import mp3
        >>> 20_000 < len(mp3(torch.randn(2, 44100) / 10, 44100)) < 30_000
        True
    """
    checks.audio(audio, rank=2)
    if audio.dim() != 2:
        raise ValueError(f"audio must have shape (C, T), got {tuple(audio.shape)}")
    checks.integer(bits_per_second, "bits_per_second", 32_000, 320_000)
    try:
        import soundfile
    except ImportError as error:
        raise ImportError("players need soundfile: pip install soundfile") from error
    rate = _mp3_rate(sample_rate)
    audio = audio.detach().float().cpu()
    if audio.shape[0] > 2:
        audio = downmix(audio)[None]
    audio = resample(audio, sample_rate, rate).clamp(-1, 1)
    # libsndfile spreads LAME's constant rates over [0, 1]: 320 to 32 kbit/s from 32 kHz up, 160 to 8 below.
    highest, lowest = (320_000, 32_000) if rate >= 32000 else (160_000, 8_000)
    level = min(1.0, max(0.0, (highest - bits_per_second) / (highest - lowest)))
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer,
        "w",
        samplerate=rate,
        channels=audio.shape[0],
        format="MP3",
        compression_level=level,
        bitrate_mode="CONSTANT",
    ) as file:
        file.write(audio.T.contiguous().numpy())
    return buffer.getvalue()


def audio_source(audio: Tensor, sample_rate: float, bits_per_second: int = 192_000) -> str:
    """Encode the audio as a `data:` URL for `<audio src=...>`: MP3 in base64.

    Args:
        audio: `(C, T)`.
        sample_rate: in Hz.
        bits_per_second: as for `mp3`.

    Returns:
        the URL.

    Raises:
        ValueError: as `mp3`.

    Example:
        >>> import torch
        >>> from torchprim.report.players import audio_source
        >>> audio_source(torch.zeros(1, 4410), 44100)[:22]
        'data:audio/mpeg;base64'
    """
    return "data:audio/mpeg;base64," + base64.b64encode(mp3(audio, sample_rate, bits_per_second)).decode()
