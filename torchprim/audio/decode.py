"""Two decoders of audio files: FFmpeg (PyAV) for all formats, libsndfile (soundfile) for plain ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from torchprim.audio.samples import Samples
from torchprim.audio.truncation import missing_end
from torchprim.errors import AudioError, within_memory

# Magic bytes of formats that libsndfile reads well: WAV (RIFF, RIFX, RF64, W64), AIFF, AU, CAF, FLAC, OGG.
_SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"caff", b"fLaC", b"OggS")
# Formats whose header states the length. For others FFmpeg estimates it from the bit rate.
_EXACT_LENGTH = ("wav", "w64", "flac", "mov", "matroska", "asf", "aiff", "caf", "ape", "wv", "tta")
# Seconds by which the decoded length may fall short of the header's: encoders round to whole packets.
_LENGTH_TOLERANCE = 0.1

Buffer = TypeVar("Buffer", bound=Samples)
NewBuffer = Callable[[str | os.PathLike[str], int, int], Buffer]  # of path, sample rate and channels


class Decoded(NamedTuple):
    """The samples of one stream, and notes on the parts that could not be decoded."""

    audio: np.ndarray  # (C, T) float32
    sample_rate: int
    notes: tuple[str, ...]


class DecoderError(Exception):
    """A decoder cannot read the file, or not to its end; another one may."""

    def __init__(self, reason: str, partial: Samples | None = None) -> None:
        super().__init__(reason)
        self.partial = partial


def decode(path: str | os.PathLike[str], stream: int = 0) -> Decoded:
    """Decode one audio stream of a file, at its own rate and with its own channels.

    Args:
        path: an existing file.
        stream: index of the audio stream.

    Raises:
        AudioError: where no decoder can read it, it has no such stream or no samples, or a sample is NaN
            or infinite, or the memory does not suffice.
    """
    with within_memory(path):
        samples, notes = collect(path, stream, Samples)
        return Decoded(samples.join(), samples.sample_rate, notes)


def collect(
    path: str | os.PathLike[str], stream: int, buffer: NewBuffer[Buffer]
) -> tuple[Buffer, tuple[str, ...]]:
    """Decode one audio stream of a file into a buffer, `buffer(path, sample_rate, channels)`.

    Returns:
        the buffer with all samples that could be decoded, at least one, and notes on those that could not.

    Raises:
        AudioError: as `decode`, but for samples that are not finite.
    """
    with open(path, "rb") as file:
        plain = file.read(4) in _SNDFILE_MAGIC
    # libsndfile as a last resort: with MP3 it writes to stderr by itself.
    decoders = [_soundfile, _av] if plain else [_av] if _have_av() else [_av, _soundfile]
    partial, reason, missing = None, "", []
    for decoder in decoders:
        try:
            samples, note = decoder(path, stream, buffer)
            break
        except ImportError:
            missing.append("PyAV (pip install av)" if decoder is _av else "soundfile (pip install soundfile)")
        except DecoderError as error:
            partial, reason = partial or error.partial, reason or str(error)
    else:
        if partial is None:
            hint = f"; it may need {' or '.join(missing)}" if missing else ""
            raise AudioError(path, f"cannot be decoded as sound ({reason or 'no decoder there'}){hint}")
        samples, note = partial, f"damaged: only the first {_seconds(partial)} could be decoded"
    if samples.length == 0:
        raise AudioError(path, "holds 0 samples that can be decoded")
    note = note or missing_end(path)
    return samples, (note,) if note else ()


def count_streams(path: str | os.PathLike[str]) -> int:
    """Count the audio streams of a file.

    Raises:
        AudioError: where the file cannot be opened as audio.
        ImportError: without PyAV.
    """
    try:
        with open(path, "rb") as file, _open_av(file) as container:
            return len(container.streams.audio)
    except DecoderError as error:
        raise AudioError(path, f"cannot be decoded as sound ({error})") from None


def _seconds(samples: Samples) -> str:
    return f"{samples.length / samples.sample_rate:.2f} s"


def _truncation_note(samples: Samples, expected: float, exact: bool) -> str:
    """Return a note where fewer samples were decoded than the header states, else an empty string."""
    if samples.length >= expected - (0.5 if exact else _LENGTH_TOLERANCE * samples.sample_rate):
        return ""
    whole = expected / samples.sample_rate
    return f"truncated or damaged: {_seconds(samples)} of {whole:.2f} s could be decoded"


def _soundfile(
    path: str | os.PathLike[str], stream: int, buffer: NewBuffer[Buffer] = Samples
) -> tuple[Buffer, str]:
    import soundfile

    try:
        file = soundfile.SoundFile(os.fsencode(path))
    except soundfile.SoundFileError as error:
        raise DecoderError(str(getattr(error, "error_string", error))) from None
    with file:
        if stream or (file.subtype in ("OPUS", "MPEG_LAYER_III") and _have_av()):
            raise DecoderError("FFmpeg reads it better")
        samples = buffer(path, file.samplerate, file.channels)
        try:
            while len(block := file.read(1 << 16, dtype="float32", always_2d=True)):
                samples.add(block.T)
        except soundfile.SoundFileError as error:
            raise DecoderError(str(getattr(error, "error_string", error)), samples) from None
        expected = file.frames if file.frames < 1 << 62 else 0  # libsndfile's mark for an unknown length
        return samples, _truncation_note(samples, expected, exact=not file.subtype.startswith("MPEG"))


def _have_av() -> bool:
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def _open_av(file: Any) -> Any:
    import av

    try:
        # A file object, not its name: "a:b.mp3" would name a protocol. The white list keeps a playlist with
        # the suffix of audio from fetching anything from a network.
        return av.open(file, metadata_errors="replace", options={"protocol_whitelist": "file"})
    except (av.error.FFmpegError, ValueError) as error:
        raise DecoderError(getattr(error, "strerror", None) or str(error)) from None


def _av(path: str | os.PathLike[str], stream: int, buffer: NewBuffer[Buffer] = Samples) -> tuple[Buffer, str]:
    with open(path, "rb") as file, _open_av(file) as container:
        if len(container.streams.audio) <= stream:
            raise AudioError(path, "has no audio stream" if stream == 0 else f"has no audio stream {stream}")
        chosen = container.streams.audio[stream]
        if chosen.codec_context is None:
            raise DecoderError("the codec of its audio is not known")
        skipped: list[float] = []
        samples, note = None, ""
        for frame in _frames(container, chosen, skipped):
            layout = (frame.sample_rate, frame.layout.nb_channels)
            if samples is None:
                samples = buffer(path, *layout)
            elif layout != (samples.sample_rate, samples.channels):
                note = f"only the first {_seconds(samples)} were decoded: there rate or channels change"
                break
            samples.add(_to_float(frame))
        if samples is None:
            samples = buffer(path, chosen.rate or 1, max(1, chosen.channels))
        if not note and skipped:
            note = f"truncated or damaged: {len(skipped)} packet(s) skipped, the first at {skipped[0]:.2f} s"
        expected = _expected_length(container, chosen, samples.sample_rate)
        return samples, note or _truncation_note(samples, expected, exact=container.format.name == "flac")


def _frames(container: Any, chosen: Any, skipped: list[float]) -> Iterator[Any]:
    """Yield all frames that can be decoded; append the time (s) of each packet that cannot to `skipped`."""
    import av

    time = 0.0
    packets = container.demux(chosen)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:  # the container itself breaks off here
            skipped.append(time)
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            skipped.append(time)
            continue
        for frame in frames:
            time += frame.samples / frame.sample_rate
            yield frame


def _to_float(frame: Any) -> np.ndarray:
    """Convert the samples of a frame to `(C, n)`, integers scaled to [-1, 1)."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128) / 128
    if values.dtype.kind == "i":
        return values * np.float32(2.0 ** (1 - 8 * values.dtype.itemsize))
    return values


def _expected_length(container: Any, chosen: Any, rate: int) -> float:
    """Return the number of samples by the file's header; 0 where FFmpeg only estimates it."""
    names = container.format.name.split(",")
    # An MP3 counts its frames in the same header that gives the encoder's delay as the start.
    exact = any(name in _EXACT_LENGTH for name in names) or (names == ["mp3"] and chosen.start_time)
    return float(chosen.duration * chosen.time_base) * rate if exact and chosen.duration else 0.0
