"""Two decoders of audio files: FFmpeg (PyAV) for all formats, libsndfile (soundfile) for plain ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from torchprim import checks
from torchprim.audio.parts import Part, find_parts
from torchprim.audio.samples import Samples
from torchprim.errors import AudioError

# Formats whose header states the length. For others FFmpeg estimates it from the bit rate.
_EXACT_LENGTH = ("wav", "w64", "flac", "mov", "matroska", "asf", "aiff", "caf", "ape", "wv", "tta")
_READ = 1 << 17  # samples of all channels that libsndfile decodes at a time
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

    Files that were joined (a chain of Ogg links) are decoded one after the other, while rate and channels
    stay the same. No exception of a decoder leaves this function.

    Args:
        path: an existing file.
        stream: index of the audio stream.

    Raises:
        AudioError: where no decoder can read it, it has no such stream or no samples, its rate is below
            1 kHz or above 1 MHz, a sample is NaN, infinite or beyond 1e30, or memory does not suffice.
    """
    try:
        samples, notes = collect(path, stream, Samples)
        return Decoded(samples.join(), samples.sample_rate, notes)
    except MemoryError as error:
        raise AudioError(path, "not enough memory to decode it") from error


def collect(
    path: str | os.PathLike[str], stream: int, buffer: NewBuffer[Buffer]
) -> tuple[Buffer, tuple[str, ...]]:
    """Decode one audio stream of a file into a buffer, `buffer(path, sample_rate, channels)`.

    Returns:
        the buffer with all samples that could be decoded, at least one, and notes on those that could not.

    Raises:
        AudioError: as `decode`, but for the values of the samples, which the buffer checks.
    """
    whole: Buffer | None = None
    notes: list[str] = []
    for part in find_parts(path):
        try:
            samples, note = _decode_part(part, stream, buffer)
        except AudioError as error:
            if whole is None or error.path != path:  # of the disk that the buffer lies on
                raise
            samples, note = None, error.reason
        if whole is None:
            whole = samples
        elif samples is None or samples.layout != whole.layout:
            reason = note if samples is None else "rate or channels change"
            notes.append(f"only the first {_seconds(whole)} could be decoded: there {reason}")
            break
        else:
            whole.extend(samples)
        notes += [note] if note else []
    if whole is None or whole.length == 0:
        raise AudioError(path, "holds 0 samples that can be decoded")
    return whole, tuple(dict.fromkeys(notes))


def _decode_part(part: Part, stream: int, buffer: NewBuffer[Buffer]) -> tuple[Buffer, str]:
    """Decode one part with the first decoder that can; a note says what is missing."""
    # libsndfile as a last resort: with MP3 it writes to stderr by itself.
    decoders = [_soundfile, _av] if part.plain else [_av] if _have_av() else [_av, _soundfile]
    partial, reason, missing = None, "", []
    for decoder in decoders:
        try:
            samples, note = decoder(part, stream, buffer)
            return samples, note or part.note
        except ImportError:
            missing.append("PyAV (pip install av)" if decoder is _av else "soundfile (pip install soundfile)")
        except (AudioError, MemoryError):
            raise
        except Exception as error:  # whatever a library raises on a damaged file
            partial = partial or getattr(error, "partial", None)
            reason = reason or str(error) or type(error).__name__
    if partial is None:
        hint = f"; it may need {' or '.join(missing)}" if missing else ""
        raise AudioError(part.path, f"cannot be decoded as sound ({reason or 'no decoder there'}){hint}")
    return partial, f"damaged: only the first {_seconds(partial)} could be decoded"


def count_streams(path: str | os.PathLike[str]) -> int:
    """Count the audio streams of a file.

    Raises:
        AudioError: where the file cannot be opened as audio.
        ImportError: without PyAV.
    """
    try:
        with open(path, "rb") as file, _open_av(file) as container:
            return len(container.streams.audio)
    except ImportError:
        raise
    except Exception as error:
        raise AudioError(path, f"cannot be decoded as sound ({error})") from None


def _seconds(samples: Samples) -> str:
    return f"{samples.length / samples.sample_rate:.2f} s"


def _truncation_note(samples: Samples, expected: float, exact: bool) -> str:
    """Return a note where fewer samples were decoded than the header states, else an empty string."""
    if samples.length >= expected - (0.5 if exact else _LENGTH_TOLERANCE * samples.sample_rate):
        return ""
    whole = expected / samples.sample_rate
    return f"truncated or damaged: {_seconds(samples)} of {whole:.2f} s could be decoded"


def _soundfile(part: Part, stream: int, buffer: NewBuffer[Buffer] = Samples) -> tuple[Buffer, str]:
    import soundfile

    with part.open() as file:
        try:
            # By its name where that will do: a file object is read through callbacks.
            sound = soundfile.SoundFile(os.fsencode(part.path) if part.is_plain_file else file)
        except soundfile.SoundFileError as error:
            raise DecoderError(str(getattr(error, "error_string", error))) from None
        with sound:
            if stream or (sound.subtype in ("OPUS", "MPEG_LAYER_III") and _have_av()):
                raise DecoderError("FFmpeg reads it better")
            samples = buffer(part.path, sound.samplerate, sound.channels)
            count = max(1, _READ // sound.channels)
            try:
                while len(block := sound.read(count, dtype="float32", always_2d=True)):
                    samples.add(block.T)
            except soundfile.SoundFileError as error:
                raise DecoderError(str(getattr(error, "error_string", error)), samples) from None
            expected = sound.frames if sound.frames < 1 << 62 else 0  # libsndfile's mark: not known
            return samples, _truncation_note(samples, expected, exact=not sound.subtype.startswith("MPEG"))


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
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise DecoderError(getattr(error, "strerror", None) or str(error)) from None


def _av(part: Part, stream: int, buffer: NewBuffer[Buffer] = Samples) -> tuple[Buffer, str]:
    path = part.path
    with part.open() as file, _open_av(file) as container:
        if len(container.streams.audio) <= stream:
            tracks = len(container.streams.audio)
            found = f"has no audio track {stream + 1}, only {tracks}" if tracks else "has no audio stream"
            raise AudioError(path, found)
        chosen = container.streams.audio[stream]
        if chosen.codec_context is None:
            raise DecoderError("the codec of its audio is not known")
        skipped: list[float] = []
        samples, note = None, ""
        for frame in _frames(container, chosen, skipped):
            layout = (frame.sample_rate, frame.layout.nb_channels)
            if samples is None:
                samples = buffer(path, *layout)
            elif layout != samples.layout:
                note = f"only the first {_seconds(samples)} were decoded: there rate or channels change"
                break
            samples.add(_to_float(frame))
        if samples is None:
            samples = buffer(path, chosen.rate or checks.LOWEST_RATE, max(1, chosen.channels))
        if not note and skipped:
            note = f"truncated or damaged: {len(skipped)} packet(s) lost, the first at {skipped[0]:.2f} s"
        expected = _expected_length(container, chosen, samples.sample_rate)
        return samples, note or _truncation_note(samples, expected, exact=container.format.name == "flac")


def _frames(container: Any, chosen: Any, skipped: list[float]) -> Iterator[Any]:
    """Yield all frames that can be decoded; append the time (s) of each that cannot, or not whole."""
    import av

    # Python's own errors come from a damaged header that makes FFmpeg seek to nowhere.
    failures = (av.error.FFmpegError, OSError, ValueError)
    time = 0.0
    packets = container.demux(chosen)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except failures:  # the container itself breaks off here
            skipped.append(time)
            return
        try:
            frames = packet.decode()
        except failures:
            skipped.append(time)
            continue
        for frame in frames:
            if frame.is_corrupt:  # concealed by the decoder, as at the cut end of an AC-3
                skipped.append(time)
            time += frame.samples / frame.sample_rate
            yield frame


def _to_float(frame: Any) -> np.ndarray:
    """Convert the samples of a frame to `(C, n)`, integers scaled to [-1, 1)."""
    if frame.format.name in ("s64", "s64p"):  # PyAV does not convert these
        values = np.stack([np.frombuffer(plane, np.int64) for plane in frame.planes])
        values = values[:, : frame.samples * (1 if frame.format.is_planar else frame.layout.nb_channels)]
    else:
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
    if not exact:
        return 0.0
    if chosen.duration:
        return float(chosen.duration * chosen.time_base) * rate
    return (container.duration or 0) / 1e6 * rate  # in us; Matroska states that of the whole file alone
