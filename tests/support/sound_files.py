"""Files of sound for tests, made on the spot with the encoders inside PyAV and soundfile."""

from pathlib import Path

import av
import numpy as np
import soundfile


def noise(frames, channels=2, seed=0, level=0.1):
    """Low-passed noise `(C, T)`: keeps its shape through a lossy codec better than white noise."""
    white = np.random.default_rng(seed).standard_normal((channels, frames + 16))
    smooth = np.stack([np.convolve(row, np.ones(17) / 17, "valid") for row in white])
    return (level * smooth / 0.25).astype(np.float32)[:, :frames]


def write(path, audio, rate=44100, subtype=None, **options):
    """Write `(C, T)` with libsndfile; returns the path."""
    soundfile.write(str(path), np.asarray(audio).T, rate, subtype=subtype, **options)
    return Path(path)


def encode(path, streams, rate, codec, layout="stereo", options=None, bit_rate=192000):
    """Encode one or several streams `(C, T)` with FFmpeg; returns the path."""
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
    """A film without an audio stream; returns the path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(stream.encode(None))
    return Path(path)


def cut(path, target, share=0.6):
    """The first part of a file's bytes as another file; returns its path."""
    content = Path(path).read_bytes()
    Path(target).write_bytes(content[: int(len(content) * share)])
    return Path(target)
