"""A growing buffer of decoded samples: collected in blocks, joined without a second copy."""

from __future__ import annotations

import os

import numpy as np

from torchprim.errors import AudioError

# Frames in one block: 24 s at 44.1 kHz, 8 MB of stereo.
_BLOCK = 1 << 20


class Samples:
    """Buffer for decoded pieces of any length, in large blocks.

    The length of a file is certain only at its end. A list of blocks grows without copying, and `join` frees
    each block once it is copied, so that the peak of memory is one copy of the song.

    Args:
        path: the file, for errors.
        sample_rate: in Hz.
        channels: number of channels.
    """

    def __init__(self, path: str | os.PathLike[str], sample_rate: int, channels: int) -> None:
        self.path, self.sample_rate, self.channels = path, sample_rate, channels
        self.length = 0
        self._blocks: list[np.ndarray] = []

    def add(self, piece: np.ndarray) -> None:
        """Append `(C, n)` samples of any real dtype in [-1, 1]."""
        done = 0
        while done < piece.shape[1]:
            offset = self.length % _BLOCK
            if offset == 0:
                self._blocks.append(np.empty((self.channels, _BLOCK), np.float32))
            count = min(_BLOCK - offset, piece.shape[1] - done)
            with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, which `join` reports
                self._blocks[-1][:, offset : offset + count] = piece[:, done : done + count]
            self.length += count
            done += count

    def join(self) -> np.ndarray:
        """Return all samples `(C, T)`, float32, contiguous; the buffer is empty afterwards.

        Raises:
            AudioError: for a sample that is NaN or infinite.
        """
        whole = np.empty((self.channels, self.length), np.float32)
        self._blocks.reverse()
        start = 0
        while self._blocks:
            block = self._blocks.pop()[:, : self.length - start]
            check_finite(self.path, block, start, self.sample_rate)
            whole[:, start : start + block.shape[1]] = block
            start += block.shape[1]
        return whole


def check_finite(path: str | os.PathLike[str], block: np.ndarray, start: int, sample_rate: int) -> None:
    """Check the samples `(C, n)` of a file from `start` on.

    Raises:
        AudioError: "PATH: a sample is NaN at 0.500 s", for the first that is NaN or infinite.
    """
    finite = np.isfinite(block)
    if not finite.all():
        first = int(np.argmin(finite.all(axis=0)))
        bad = block[:, first][~finite[:, first]][0]
        value = "NaN" if np.isnan(bad) else "infinite"
        raise AudioError(path, f"a sample is {value} at {(start + first) / sample_rate:.3f} s")
