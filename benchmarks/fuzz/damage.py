"""Files of eight formats with one bit flipped, decoded and separated."""

from __future__ import annotations

import contextlib
import io
import random
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from benchmarks.sound import synthetic_music
from torchprim.audio.load import read
from torchprim.cli.main import main
from torchprim.errors import AudioError, shown

HEADER = 256  # bytes that every second flip hits
# suffix -> format and subtype of libsndfile; it writes no AAC
_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".m4a": None,
    ".opus": ("OGG", "OPUS"),
    ".aiff": ("AIFF", "PCM_24"),
    ".caf": ("CAF", "FLOAT"),
}
_RATE = 48000  # that Opus has


class Flip(NamedTuple):
    """A file, and the bit of it that is flipped."""

    path: Path
    bit: int

    def __str__(self) -> str:
        return f"bit {self.bit} of {self.path.name}"


def write_files(folder: Path) -> list[Path]:
    """Write 1 s of synthetic music, two channels, in each format; return the files."""
    left, right = (0.5 * synthetic_music(1.0, _RATE, seed).numpy() for seed in (0, 1))
    audio = np.stack([left + 0.3 * right, left - 0.3 * right])
    paths = []
    for suffix, layout in _FORMATS.items():
        paths.append(folder / f"song{suffix}")
        if layout is None:
            _write_aac(paths[-1], audio)
        else:
            soundfile.write(paths[-1], audio.T, _RATE, format=layout[0], subtype=layout[1])
    return paths


def _write_aac(path: Path, audio: np.ndarray) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=_RATE, layout="stereo")
        for start in range(0, audio.shape[1], 1024):
            block = np.ascontiguousarray(audio[:, start : start + 1024], np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = _RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def draw_flips(files: list[Path], count: int, seed: int) -> list[Flip]:
    """Draw a bit for each case; the files take turns."""
    generator = random.Random(seed)
    flips = []
    for number in range(count):
        path = files[number % len(files)]
        size = path.stat().st_size
        span = min(HEADER, size) if number // len(files) % 2 == 0 else size
        flips.append(Flip(path, generator.randrange(8 * span)))
    return flips


@contextlib.contextmanager
def _flipped(flip: Flip):
    """Write the damaged file; yield its path."""
    content = bytearray(flip.path.read_bytes())
    content[flip.bit // 8] ^= 1 << flip.bit % 8
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / flip.path.name
        path.write_bytes(content)
        yield path


def decode_flipped(flip: Flip) -> str:
    """Decode the damaged file; return how it ends."""
    with _flipped(flip) as path:
        try:
            sound = read(path)
        except AudioError as error:
            return "AudioError" if str(error).startswith(f"{path}: ") else f"names no file: {error}"
    if not sound.audio.isfinite().all():
        return "samples that are not finite"
    return "sound with a note" if sound.notes else "sound"


def separate_flipped(flip: Flip) -> str:
    """Separate the damaged file with the command; return how it ends."""
    said, warned = io.StringIO(), io.StringIO()
    with _flipped(flip) as path:
        out = path.parent / "out"
        words = ["separate", str(path), "--out", str(out), "--method", "hpss", "--device", "cpu"]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(warned):
            status = main(words)
        stems = sorted(out.rglob("*.wav"))
        lines = [line for line in warned.getvalue().splitlines() if line.strip()]
        if status:
            named = len(lines) == 1 and lines[0].startswith(f"error: {shown(path)}: ")
            return "AudioError" if status == 1 and named and not stems else f"{status} {lines} {len(stems)}"
        if len(stems) != 2 or not all(np.isfinite(soundfile.read(stem)[0]).all() for stem in stems):
            return f"stems are missing or not finite: {stems}"
        if any(not line.startswith(f"warning: {shown(path)}: ") for line in lines):
            return f"says {lines}"
        return "sound with a note" if lines else "sound"
