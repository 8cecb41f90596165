"""Audio files to tensors: any format, at the file's own rate and channels.

WAV, AIFF, FLAC and Ogg Vorbis are decoded by libsndfile, everything else by the FFmpeg inside PyAV; where one
of them is missing or fails, the other is tried.
"""

from __future__ import annotations

import functools
import os
import stat
import warnings
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from torchprim import checks
from torchprim.audio.decode import Decoded, collect, count_streams, decode
from torchprim.audio.downmix import cancels, cancels_in
from torchprim.audio.resampling import resample
from torchprim.audio.spool import Spool, SpooledSamples
from torchprim.errors import AudioError, AudioWarning, shown

STEMS = ("drums", "bass", "other", "vocals")  # streams 1 to 4 of a .stem.mp4; stream 0 is a mixture


class Sound(NamedTuple):
    """A decoded audio file."""

    audio: Tensor  # (C, T) float32
    sample_rate: int
    notes: tuple[str, ...]  # one line for each part that could not be decoded, and on channels that cancel


class Recording(NamedTuple):
    """A decoded audio file of any length."""

    samples: Spool  # (C, T)
    sample_rate: int
    notes: tuple[str, ...]  # as of `Sound`


Loaded = TypeVar("Loaded", Sound, Recording)


def read(path: str | os.PathLike[str]) -> Sound:
    """Decode a file at its own rate, with notes on what a user should know of it.

    A `.stem.mp4` (Native Instruments Stems) gives the sum of its stems, streams 1 to 4: its stream 0 is
    a mixture mastered separately, which need not be that sum.

    Args:
        path: a file in any format that FFmpeg or libsndfile knows.

    Returns:
        audio `(C, T)` float32 in [-1, 1], its rate in Hz, and notes: for most files none; one line for each
        missing part of a truncated or damaged file, and one where the channels cancel, see `downmix`.

    Raises:
        AudioError: "PATH: reason" for a file that is missing, empty, not audio, without an audio stream or
            samples, of a rate outside 1 kHz to 1 MHz, or with samples that are NaN, infinite or beyond 1e30.
        TypeError: for a path that is neither a `str` nor an `os.PathLike[str]`.

    Example:
        >>> from torchprim.audio.find import demo_song
        >>> from torchprim.audio.load import read
        >>> song = read(demo_song())
        >>> song.audio.shape, song.sample_rate, song.notes
        (torch.Size([2, 268288]), 44100, ())
    """
    _check_file(path)
    if not _holds_stems(path):
        return _with_note_on_channels(_to_sound(decode(path)))
    stems = _stem_streams(path)
    mixture, rate, notes = _to_sound(decode(path, next(stems)))
    for stream in stems:
        stem, stem_rate, more = _to_sound(decode(path, stream))
        _check_alike(path, (mixture.shape[0], rate), (stem.shape[0], stem_rate))
        length = min(mixture.shape[1], stem.shape[1])
        mixture = mixture[:, :length].add_(stem[:, :length])
        notes += more
    return _with_note_on_channels(Sound(mixture.contiguous(), rate, tuple(dict.fromkeys(notes))))


def record(
    path: str | os.PathLike[str], folder: str | os.PathLike[str], track: int | None = None
) -> Recording:
    """Decode a file of any length as `read` does, but into a buffer whose memory does not grow with it.

    Args:
        path: a file in any format that FFmpeg or libsndfile knows.
        folder: where samples are kept that are too many for memory.
        track: number of the audio stream, from 1, in a file with several, such as a film in two languages; by
            default the first one, and of a `.stem.mp4` the sum of its stems.

    Raises:
        AudioError: as `read`, and where `folder` cannot be written.

    Example:
        >>> from torchprim.audio.find import demo_song
        >>> from torchprim.audio.load import record
        >>> song = record(demo_song(), ".")
        >>> song.samples.length, song.samples.read(44100, 88200).shape
        (268288, torch.Size([2, 44100]))
    """
    _check_file(path)
    buffer = functools.partial(SpooledSamples, folder=folder)

    def decode_stream(stream: int) -> Recording:
        samples, notes = collect(path, stream, buffer)
        return Recording(samples.close(), samples.sample_rate, notes)

    if track is not None or not _holds_stems(path):
        return _with_note_on_channels(decode_stream((track or 1) - 1))
    stems = _stem_streams(path)
    mixture, rate, notes = decode_stream(next(stems))
    for stream in stems:
        stem, stem_rate, more = decode_stream(stream)
        _check_alike(path, (mixture.channels, rate), (stem.channels, stem_rate))
        mixture.add(stem)
        notes += more
    return _with_note_on_channels(Recording(mixture, rate, tuple(dict.fromkeys(notes))))


def load_audio(path: str | os.PathLike[str], sample_rate: float | None = None) -> tuple[Tensor, float]:
    """Decode an audio file.

    Args:
        path: a file in any format that FFmpeg or libsndfile knows; a `.stem.mp4` gives the sum of its stems.
        sample_rate: in Hz, to resample to; by default the file's own rate.

    Returns:
        audio `(C, T)`, float32 in [-1, 1] with the file's channels, and its rate in Hz. A truncated file
        gives what can be decoded of it, with an `AudioWarning`; each note of `read` is one.

    Raises:
        AudioError: "PATH: reason", as for `read`.
        TypeError: for a path that is neither a `str` nor an `os.PathLike[str]`.
        ValueError: for a rate outside 1 kHz to 1 MHz.

    Example:
        >>> import torchprim as tp
        >>> from torchprim.audio.find import demo_song
        >>> audio, rate = tp.load_audio(demo_song())
        >>> audio.shape, rate
        (torch.Size([2, 268288]), 44100)
    """
    if sample_rate is not None:
        checks.file_rate(sample_rate, "sample_rate")
    audio, rate, notes = read(path)
    _warn(path, notes)
    if sample_rate is None or sample_rate == rate:
        return audio, rate
    return resample(audio, rate, sample_rate), sample_rate


def load_stems(
    path: str | os.PathLike[str], sample_rate: float | None = None
) -> tuple[dict[str, Tensor], float]:
    """Decode the four stems of a `.stem.mp4`: drums, bass, other and vocals.

    Args:
        path: a file with five audio streams, the mixture first.
        sample_rate: in Hz, to resample to; by default the file's own rate.

    Returns:
        the stems by name, each `(C, T)` float32, all of one length, and their rate in Hz. Their sum, in
        this order, equals the audio of `load_audio`.

    Raises:
        AudioError: "PATH: reason", as for `read`, and where there are not five audio streams.
        TypeError, ValueError: as for `load_audio`.

    Example:
        >>> from torchprim.audio.find import demo_song
        >>> from torchprim.audio.load import load_stems
        >>> stems, rate = load_stems(demo_song())
        >>> list(stems), stems["vocals"].shape
        (['drums', 'bass', 'other', 'vocals'], torch.Size([2, 268288]))
    """
    if sample_rate is not None:
        checks.file_rate(sample_rate, "sample_rate")
    _check_file(path)
    sounds = [_to_sound(decode(path, stream)) for stream in _stem_streams(path)]
    for sound in sounds[1:]:
        _check_alike(
            path, (sounds[0].audio.shape[0], sounds[0].sample_rate), (sound.audio.shape[0], sound.sample_rate)
        )
    _warn(path, tuple(dict.fromkeys(note for sound in sounds for note in sound.notes)))
    length, rate = min(sound.audio.shape[1] for sound in sounds), sounds[0].sample_rate
    target_rate = rate if sample_rate is None else sample_rate
    stems = {
        name: resample(sound.audio[:, :length], rate, target_rate)
        for name, sound in zip(STEMS, sounds, strict=True)
    }
    return stems, target_rate


def _check_file(path: str | os.PathLike[str]) -> None:
    checks.file_path(path)
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise AudioError(path, "is a folder, not an audio file")
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(path, "is not a regular file")
        with open(path, "rb"):
            if status.st_size == 0:
                raise AudioError(path, "the file is empty")
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = checks.URL if checks.is_url(path) else getattr(error, "strerror", None) or str(error)
        raise AudioError(path, reason) from error


def _holds_stems(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).lower().endswith((".stem.mp4", ".stem.m4a"))


def _stem_streams(path: str | os.PathLike[str]) -> Iterator[int]:
    try:
        count = count_streams(path)
    except ImportError as error:
        raise AudioError(path, "decoding it needs PyAV: pip install av") from error
    if count != 1 + len(STEMS):
        raise AudioError(path, f"a file of stems has 5 audio streams, this one has {count}")
    return iter(range(1, 1 + len(STEMS)))


def _check_alike(path: str | os.PathLike[str], first: tuple[int, int], other: tuple[int, int]) -> None:
    if first != other:
        raise AudioError(path, f"its stems differ in channels or rate: {first} and {other}")


def _to_sound(decoded: Decoded) -> Sound:
    return Sound(torch.from_numpy(decoded.audio), decoded.sample_rate, decoded.notes)


def _with_note_on_channels(sound: Loaded) -> Loaded:
    if not (cancels(sound.audio) if isinstance(sound, Sound) else cancels_in(sound.samples)):
        return sound
    note = "its channels cancel, one may be inverted: the loudest is taken where they are mixed to one"
    return sound._replace(notes=(*sound.notes, note))


def _warn(path: str | os.PathLike[str], notes: tuple[str, ...]) -> None:
    for note in notes:
        warnings.warn(f"{shown(path)}: {note}", AudioWarning, stacklevel=3)
