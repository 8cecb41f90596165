"""Stems to audio files, stretch by stretch: what `save_stems` writes, of any length."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from torchprim.audio.encode import Encoder, format_of
from torchprim.audio.spool import Spool
from torchprim.errors import AudioError
from torchprim.files import all_replaced


class StemWriter:
    """Writer of several files that belong together, stretch by stretch, with one gain; see `open_stems`.

    The gain is known when all has been written: samples of a FLAC are spooled until then.
    """

    def __init__(self, encoders: Sequence[Encoder], spools: Sequence[Spool]) -> None:
        self.gain = 1.0  # as of `save_stems`, at the end
        self._encoders, self._spools, self._peak = encoders, spools, 0.0

    def write(self, *stems: Tensor) -> None:
        """Append `(C, n)` samples to each file.

        Raises:
            AudioError: "PATH: reason" where they cannot be written.
        """
        for i, stem in enumerate(stems):
            stem = stem.detach().cpu()
            if not self._spools:
                self._encoders[i].write(stem)
                continue
            self._peak = max(self._peak, stem.abs().amax().item())
            self._spools[i].write(self._spools[i].length, stem)

    def finish(self) -> None:
        """Encode what is spooled."""
        self.gain = 1 / self._peak if self._peak > 1 else 1.0
        for encoder, spool in zip(self._encoders, self._spools, strict=False):  # no spools of WAVs
            for block in spool:
                encoder.write(block, self.gain)


@contextlib.contextmanager
def open_stems(
    paths: Sequence[str | os.PathLike[str]],
    sample_rate: int,
    channels: int,
    length: int,
    folder: str | os.PathLike[str],
) -> Iterator[StemWriter]:
    """Write several audio files of any length, as `save_stems` does: all of them or none, with one gain.

    Args:
        paths: all end in .wav, or all in .flac.
        sample_rate: in Hz.
        channels: of each.
        length: samples of each channel.
        folder: where samples of FLACs are kept until their gain is known.

    Raises:
        AudioError, ValueError, ImportError: as for `save`.

    Example:
        >>> import tempfile, torch
        >>> from torchprim.audio.stem_writer import open_stems
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open_stems([f"{folder}/a.flac", f"{folder}/b.flac"], 8000, 1, 20, folder) as stems:
        ...         for _ in range(2):
        ...             stems.write(torch.ones(1, 10), 2 * torch.ones(1, 10))
        ...     stems.gain
        0.5
    """
    targets = [Path(path) for path in paths]
    limited = {format_of(path) for path in targets} == {".flac"}
    try:
        with all_replaced(targets) as files, contextlib.ExitStack() as stack:
            encoders = [
                stack.enter_context(Encoder(path, file, sample_rate, channels, length))
                for path, file in zip(targets, files, strict=True)
            ]
            stems = StemWriter(encoders, [Spool(channels, folder) for _ in targets] if limited else [])
            yield stems
            stems.finish()
    except OSError as error:
        if error.filename not in map(os.fspath, targets):  # not of `all_replaced`, but of the block
            raise
        raise AudioError(error.filename, f"cannot be written: {error.strerror or error}") from error
