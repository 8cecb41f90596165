"""A whole song at a glance: spectrograms of mixture and stems, and the confidence over time."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.audio.downmix import downmix
from torchprim.plots.log_frequency import LOWEST
from torchprim.primitives.pitch.track_pitch import PitchTrack
from torchprim.report.page import Picture
from torchprim.report.strips import curve_picture, mixture_caption, spectrogram_picture
from torchprim.separators.base import Separation
from torchprim.separators.primitive import PrimitiveSeparator
from torchprim.spectra.mixture import Mixture
from torchprim.spectra.stft import Geometry

WINDOW = 7.0  # s, of the confidence over time: as long as the previews that it is compared with
_WINDOWS = 40  # at most: no more work for a long song than for one of 5 minutes
_CHUNK = 1024  # frames computed at once


def rms_magnitude(audio: Tensor, sample_rate: float, geometry: Geometry, columns: int = 900) -> Tensor:
    """Compute a spectrogram of at most so many frames: root mean squares over equal groups of frames.

    Args:
        audio: `(T,)`.
        sample_rate: in Hz.
        geometry: of the frames that are averaged.
        columns: largest number of frames.

    Returns:
        magnitude `(F, N)`, N <= columns, on the CPU; computed piece by piece, in memory that does not grow.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.report.overview import rms_magnitude
        >>> rms_magnitude(torch.randn(10 * 44100), 44100, tp.Geometry(), columns=100).shape
        torch.Size([1025, 96])
    """
    hop = geometry.hop_length * sample_rate / geometry.sample_rate  # in samples of the audio
    frames = math.ceil(audio.shape[-1] / hop)
    group = math.ceil(frames / columns)
    chunk = group * max(1, _CHUNK // group)
    parts = []
    for first in range(0, frames, chunk):
        excerpt = audio[round(first * hop) : round((first + chunk) * hop)]
        if not excerpt.numel():  # the last frame of a rounded hop
            break
        power = Mixture(excerpt, sample_rate, geometry).magnitude()[:, :chunk].square()
        parts += [group.mean(-1) for group in power.split(group, -1)]
    return torch.stack(parts, -1).sqrt().cpu()


class Course(NamedTuple):
    """Confidence over time: the middle of each window in s, its confidence, and the length of all windows."""

    times: list[float]
    confidence: list[float]
    window: float


def confidence_over_time(separator: PrimitiveSeparator, audio: Tensor, sample_rate: float) -> Course:
    """Compute the confidence of at most 40 windows of 7 s, evenly spread over a song; of less in a short one.

    Args:
        separator: on the device of the audio.
        audio: `(C, T)`.
        sample_rate: in Hz.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.report.overview import confidence_over_time
        >>> separator = tp.PrimitiveSeparator("paper", "hpss")
        >>> confidence_over_time(separator, torch.randn(1, 4 * 44100), 44100).times
        [1.0, 2.0, 3.0]
    """
    seconds = audio.shape[-1] / sample_rate
    window = min(seconds, max(2.0, min(WINDOW, seconds / 4)))
    count = max(1, min(_WINDOWS, round((seconds - window) / (window / 2)) + 1))
    starts = [(seconds - window) * i / max(1, count - 1) for i in range(count)]
    values = []
    mono = downmix(audio)
    for start in starts:
        begin = round(start * sample_rate)
        part = slice(begin, begin + max(1, round(window * sample_rate)))
        excerpt, channels = mono[part] - mono[part].mean(), audio[:, part]
        channels = channels - channels.mean(-1, keepdim=True)
        mixture = Mixture(excerpt, sample_rate, separator.geometry, channels)
        generator = torch.Generator(audio.device).manual_seed(0)
        values.append(separator.estimate(mixture, generator).confidence.confidence.item())
    return Course([start + window / 2 for start in starts], values, window)


def draw_overview(
    audio: Tensor,
    separation: Separation,
    sample_rate: float,
    separator: PrimitiveSeparator,
    *,
    pitch: PitchTrack | None = None,
) -> list[Picture]:
    """Draw the spectrograms of mixture, vocals and accompaniment, and the confidence over time.

    Args:
        audio: `(C, T)`.
        separation: of all of it.
        sample_rate: in Hz.
        separator: of the separation.
        pitch: of the voice, drawn over the mixture.
    """
    geometry, seconds = separator.geometry, audio.shape[-1] / sample_rate
    highest = min(sample_rate, geometry.sample_rate) / 2
    if highest <= LOWEST:
        raise ValueError(f"sample_rate must be above {2 * LOWEST:g} Hz for a picture, got {sample_rate!r}")
    signals = {"Mixture": audio, "Vocals": separation.vocals, "Accompaniment": separation.accompaniment}
    about = {
        "Mixture": mixture_caption(pitch),
        "Vocals": "In dB below the loudest of the mixture.",
        "Accompaniment": "In dB below the loudest of the mixture; with the vocals it adds up to the mixture.",
    }
    pictures, loudest = [], None
    for title, signal in signals.items():
        mono = downmix(signal, like=audio)
        magnitude = rms_magnitude(mono - mono.mean(), sample_rate, geometry)
        own = {"pitch": pitch} if title == "Mixture" else {"loudest": loudest}
        loudest = magnitude if loudest is None else loudest
        grid = {"geometry": geometry, "highest": highest, "duration": seconds}
        pictures.append(spectrogram_picture(title, title.lower(), magnitude, about[title], **grid, **own))
    course = confidence_over_time(separator, audio, sample_rate)
    whole = {"window": course.window, "mean": separation.confidence.item(), "seconds": seconds}
    pictures.append(curve_picture("Confidence", "confidence", course.times, course.confidence, **whole))
    return pictures
