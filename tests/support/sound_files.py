"""Audio files for tests, encoded on the fly with PyAV and soundfile."""

import os
from pathlib import Path

import av
import numpy as np
import soundfile


def noise(frames, channels=2, seed=0, level=0.1):
    """Generate low-passed noise `(C, T)`, which a lossy codec distorts less than white noise."""
    white = np.random.default_rng(seed).standard_normal((channels, frames + 16))
    smooth = np.stack([np.convolve(row, np.ones(17) / 17, "valid") for row in white])
    return (level * smooth / 0.25).astype(np.float32)[:, :frames]


def write(path, audio, rate=44100, subtype=None, **options):
    """Write `(C, T)` with libsndfile; return the path."""
    soundfile.write(str(path), np.asarray(audio).T, rate, subtype=subtype, **options)
    return Path(path)


def encode(path, streams, rate, codec, layout="stereo", options=None, bit_rate=192000):
    """Encode one or several streams `(C, T)` with FFmpeg; return the path."""
    streams = [streams] if isinstance(streams, np.ndarray) else streams
    with av.open(str(path), "w", options=options or {}) as container:
        outputs = [container.add_stream(codec, rate=rate, layout=layout) for _ in streams]
        for output, audio in zip(outputs, streams, strict=True):
            output.bit_rate = bit_rate
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio), format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            resampler = av.AudioResampler(output.codec_context.format, layout, rate)
            fifo = av.AudioFifo()
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                fifo.write(piece)
            size = output.codec_context.frame_size or 1024
            while piece := fifo.read(size) or fifo.read(0, partial=True):
                container.mux(output.encode(piece))
            container.mux(output.encode(None))
    return Path(path)


def silent_video(path):
    """Encode a video without an audio stream; return the path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(stream.encode(None))
    return Path(path)


def cut(path, target, share=0.6):
    """Copy the first part of a file's bytes to another file; return its path."""
    content = Path(path).read_bytes()
    Path(target).write_bytes(content[: int(len(content) * share)])
    return Path(target)


def bad_files(folder):
    """Write one file of each kind that cannot be used: path and error text by name."""
    broken = noise(44100)
    broken[1, 22050] = np.nan
    infinite = noise(44100)
    infinite[0, -1] = -np.inf
    huge = noise(1000).astype(np.float64)
    huge[0, 500] = 1e300
    (folder / "folder.wav").mkdir()
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("these are words\n" * 99)
    (folder / "text.mp3").write_text("these are words\n" * 99)
    (folder / "zeros.flac").write_bytes(bytes(5000))
    (folder / "playlist.mp3").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n"
    )
    write(folder / "whole.wav", noise(1000))
    os.mkfifo(folder / "pipe.wav")
    short = (folder / "whole.wav").read_bytes().replace(b"fmt \x10", b"fmt \x0e")
    (folder / "short.wav").write_bytes(short[:34] + short[36:])  # without the bits of a sample
    spike = noise(2000)
    spike[0, 1000] = 7e37  # the highest bit of an exponent flipped
    return {
        "short format": (folder / "short.wav", "its fmt chunk has 14 bytes, at least 16 are needed"),
        "low rate": (write(folder / "low.wav", noise(50), 1), "its sample rate is 1 Hz, outside 1 kHz"),
        "high rate": (write(folder / "high.wav", noise(50), 1_000_001), "its sample rate is 1000001 Hz"),
        "loud": (write(folder / "loud.wav", spike, 1000, "FLOAT"), "a sample is 7e+37 at 1.000 s"),
        "missing": (folder / "missing.wav", "No such file"),
        "folder": (folder / "folder.wav", "is a folder"),
        "empty": (folder / "empty.wav", "the file is empty"),
        "text.wav": (folder / "text.wav", "cannot be decoded as sound"),
        "text.mp3": (folder / "text.mp3", "cannot be decoded as sound"),
        "zeros": (folder / "zeros.flac", "holds 0 samples"),
        "playlist": (folder / "playlist.mp3", "cannot be decoded as sound"),
        "video": (silent_video(folder / "video.mp4"), "has no audio stream"),
        "0 samples": (write(folder / "nothing.wav", noise(0)), "holds 0 samples"),
        "NaN": (write(folder / "nan.wav", broken, 44100, "FLOAT"), "a sample is NaN at 0.500 s"),
        "infinite": (write(folder / "inf.wav", infinite, 44100, "FLOAT"), "a sample is infinite at 1.000 s"),
        "too large": (write(folder / "huge.wav", huge, 1000, "DOUBLE"), "a sample is infinite at 0.500 s"),
        "header": (cut(folder / "whole.wav", folder / "header.wav", 0.01), "cannot be decoded as sound"),
        "pipe": (folder / "pipe.wav", "is not a regular file"),
        "zero byte": (Path("a\0b.wav"), "embedded null"),  # "... byte"; Python 3.13: "... character in path"
    }
