"""Samples of any length in bounded memory: those beyond a limit are kept in a file without a name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from torchprim.audio.samples import Samples, check_samples
from torchprim.errors import AudioError, writing

MEMORY = 1 << 25  # bytes kept in memory: 95 s of stereo at 44.1 kHz
_BLOCK = 1 << 18  # samples read at a time


class Spool:
    """Random-access buffer of samples `(C, T)`, float32, whose memory does not grow with T.

    The file that holds what exceeds the limit has no name, so that it is gone with the process that wrote it.

    Args:
        channels: number of channels.
        folder: where the file is made; a folder in memory, as /tmp may be, would gain nothing.

    Example:
        >>> import torch
        >>> from torchprim.audio.spool import Spool
        >>> spool = Spool(2, ".")
        >>> spool.write(0, torch.arange(10.0).reshape(2, 5))
        >>> spool.length, spool.read(1, 3).tolist()
        (5, [[1.0, 2.0], [6.0, 7.0]])
    """

    def __init__(self, channels: int, folder: str | os.PathLike[str]) -> None:
        self.channels, self.folder, self.length = channels, folder, 0
        self._file = tempfile.SpooledTemporaryFile(MEMORY, dir=folder)  # noqa: SIM115 (lives as long as this)

    @property
    def nbytes(self) -> int:
        """Size of the samples in bytes."""
        return 4 * self.channels * self.length

    @property
    def on_disk(self) -> bool:
        """Whether the samples exceed what is kept in memory."""
        return self.nbytes > MEMORY

    def write(self, start: int, block: np.ndarray | Tensor) -> None:
        """Write samples `(C, n)` at `start`, at most `length`: over others, or at the end.

        Raises:
            AudioError: "FOLDER: cannot be written: reason", such as for a full disk.
        """
        frames = np.asarray(block).T.astype(np.float32, order="C", copy=False)  # (n, C)
        with writing(self.folder):
            self._file.seek(start * 4 * self.channels)
            self._file.write(frames.data)
        self.length = max(self.length, start + len(frames))

    def read(self, start: int, stop: int) -> Tensor:
        """Return the samples `(C, stop - start)` from `start` to `stop`."""
        frames = np.empty((stop - start, self.channels), np.float32)
        with writing(self.folder):  # what is not yet written is written now
            self._file.seek(start * 4 * self.channels)
        if self._file.readinto(frames) != frames.nbytes:
            raise EOFError(f"samples {start} to {stop} are not among the {self.length} that were written")
        return torch.from_numpy(frames).T.contiguous()

    def __iter__(self) -> Iterator[Tensor]:
        """Yield all samples in blocks `(C, n)`."""
        for start in range(0, self.length, _BLOCK):
            yield self.read(start, min(start + _BLOCK, self.length))

    def add(self, other: Spool) -> None:
        """Add the samples of another one, of as many channels; the longer one loses its end."""
        self.length = min(self.length, other.length)
        start = 0
        for block in other:
            block = block[:, : self.length - start]
            self.write(start, self.read(start, start + block.shape[1]) + block)
            start += block.shape[1]


class SpooledSamples(Samples):
    """Buffer for decoded pieces of any length, in a spool in place of memory.

    Args:
        path: the file, for errors.
        sample_rate: in Hz.
        channels: number of channels.
        folder: of the spool.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sample_rate: int,
        channels: int,
        folder: str | os.PathLike[str],
    ) -> None:
        super().__init__(path, sample_rate, channels)
        self._spool = Spool(channels, folder)
        self._error: AudioError | None = None

    def add(self, piece: np.ndarray) -> None:
        """Append `(C, n)` samples of any real dtype in [-1, 1]."""
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, which `close` reports
            piece = piece.astype(np.float32, copy=False)
        if self._error is None:  # another decoder may yet be taken in place of this one
            try:
                check_samples(self.path, piece, self.length, self.sample_rate)
            except AudioError as error:
                self._error = error
        self._spool.write(self.length, piece)
        self.length = self._spool.length

    def _taken(self) -> Iterator[np.ndarray]:
        return (block.numpy() for block in self._spool)

    def close(self) -> Spool:
        """Return all samples.

        Raises:
            AudioError: for a sample that is NaN, infinite, or beyond what can be computed with.
        """
        if self._error is not None:
            raise self._error
        return self._spool
