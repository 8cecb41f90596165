"""A growing buffer of decoded samples: collected in blocks, joined without a second copy."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from torchprim import checks
from torchprim.errors import AudioError

_BLOCK = 1 << 21  # samples of all channels in one block: 24 s of stereo at 44.1 kHz, 8 MB


class Samples:
    """Buffer for decoded pieces of any length, in large blocks.

    The length of a file is certain only at its end. A list of blocks grows without copying, and `join` frees
    each block once it is copied, so that the peak of memory is one copy of the song.

    Args:
        path: the file, for errors.
        sample_rate: in Hz.
        channels: number of channels.

    Raises:
        AudioError: for a rate below 1 kHz or above 1 MHz: a few samples would be hours of music.
    """

    def __init__(self, path: str | os.PathLike[str], sample_rate: int, channels: int) -> None:
        if not checks.LOWEST_RATE <= sample_rate <= checks.HIGHEST_RATE:
            raise AudioError(path, f"its sample rate is {sample_rate} Hz, outside 1 kHz to 1 MHz")
        self.path, self.sample_rate, self.channels = path, sample_rate, channels
        self.length = 0
        self._size = max(1, _BLOCK // channels)  # frames in one block
        self._blocks: list[np.ndarray] = []

    @property
    def layout(self) -> tuple[int, int]:
        """Sample rate and number of channels."""
        return self.sample_rate, self.channels

    def add(self, piece: np.ndarray) -> None:
        """Append `(C, n)` samples of any real dtype in [-1, 1]."""
        done = 0
        while done < piece.shape[1]:
            offset = self.length % self._size
            if offset == 0:
                self._blocks.append(np.empty((self.channels, self._size), np.float32))
            count = min(self._size - offset, piece.shape[1] - done)
            with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, which `join` reports
                self._blocks[-1][:, offset : offset + count] = piece[:, done : done + count]
            self.length += count
            done += count

    def join(self) -> np.ndarray:
        """Return all samples `(C, T)`, float32, contiguous; the buffer is empty afterwards.

        Raises:
            AudioError: for a sample that is NaN, infinite, or beyond what can be computed with.
        """
        whole = np.empty((self.channels, self.length), np.float32)
        start = 0
        for block in self._taken():
            check_samples(self.path, block, start, self.sample_rate)
            whole[:, start : start + block.shape[1]] = block
            start += block.shape[1]
        return whole

    def extend(self, other: Samples) -> None:
        """Append all samples of another buffer of the same layout, which is empty afterwards."""
        for block in other._taken():
            self.add(block)

    def _taken(self) -> Iterator[np.ndarray]:
        """Yield all samples in blocks `(C, n)`, each of which is freed."""
        self._blocks.reverse()
        left = self.length
        while self._blocks:
            block = self._blocks.pop()[:, :left]
            left -= block.shape[1]
            yield block


def check_samples(path: str | os.PathLike[str], block: np.ndarray, start: int, sample_rate: int) -> None:
    """Check the samples `(C, n)` of a file from `start` on.

    Raises:
        AudioError: "PATH: a sample is NaN at 0.500 s", for the first that is NaN, infinite, or beyond what
            can be computed with.
    """
    # NaN is neither below nor above.
    if block.size == 0 or -checks.LARGEST_SAMPLE <= block.min() <= block.max() <= checks.LARGEST_SAMPLE:
        return
    usable = np.abs(block) <= checks.LARGEST_SAMPLE
    first = int(np.argmin(usable.all(axis=0)))
    bad = block[:, first][~usable[:, first]][0]
    value = "NaN" if np.isnan(bad) else "infinite" if np.isinf(bad) else f"{bad:g}"
    raise AudioError(path, f"a sample is {value} at {(start + first) / sample_rate:.3f} s")
