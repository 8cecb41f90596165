"""Base of the separators into K stems: the masks of all sources to audio that adds up to the mixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchprim import checks
from torchprim.separators.base import BaseSeparator
from torchprim.separators.piecewise import Separated
from torchprim.separators.separation import StemSeparation
from torchprim.spectra.stft import Geometry, masked_istft


class BaseStemSeparator(BaseSeparator):
    """Base of the separators into any number of stems; a subclass estimates their masks, `(..., K, F, N)`.

    Args:
        geometry: STFT grid of the masks; audio at another rate is resampled.
        sources: names of the stems, in the order of the masks.
        rest: the stem that also takes what masks cannot give, a constant and what lies beyond the grid's
            frequencies, so that the stems add up to the mixture.

    Raises:
        ValueError: for a `rest` that is no source.
    """

    def __init__(self, geometry: Geometry, sources: Sequence[str], rest: str) -> None:
        super().__init__(geometry)
        self.sources: tuple[str, ...] = tuple(sources)
        if rest not in self.sources:
            raise ValueError(f"rest must be one of {', '.join(self.sources)}, got {rest!r}")
        self.rest: str = rest

    def forward(
        self,
        audio: checks.Audio,
        sample_rate: float,
        channels: bool = False,
        *,
        generator: torch.Generator | None = None,
        keep_masks: bool | None = None,
        progress: Callable[[int, int], None] | None = None,
        **settings: Any,
    ) -> StemSeparation:
        """Separate a batch of recordings of one length; arguments and errors as for `PrimitiveSeparator`.

        Args:
            audio: `(..., T)`, or `(..., C, T)` with `channels`; on any device.
            sample_rate: in Hz.
            channels: whether the last but one dimension is channels, which get the masks of their mean.
            generator: for the bins sampled by the silhouette; by default one seeded with 0.
            keep_masks: whether to return `mask` and `masks`; by default up to 30 s.
            progress: called with (pieces done, number of pieces) after each piece.
            settings: of `estimate`; of a `StemSeparator` `weights`, `beta` and `centres`.

        Returns:
            A `StemSeparation`, whose stems add up to the input.

        Raises:
            ValueError: as `PrimitiveSeparator`, and `estimate`.
        """
        return self._result(
            self._separate(audio, sample_rate, channels, generator, keep_masks, progress, settings)
        )

    def stream(
        self,
        read: Callable[[int, int], Tensor],
        length: int,
        sample_rate: float,
        channels: bool = False,
        *,
        generator: torch.Generator | None = None,
        progress: Callable[[int, int], None] | None = None,
        **settings: Any,
    ) -> Iterator[StemSeparation]:
        """Separate a recording that is too long for memory: yield its stems in stretches, one after another.

        Joined, the stretches are the stems of `forward`.

        Args:
            read: returns samples `start` to `stop` of the recording, `(..., stop - start)`.
            length: number of samples of the recording.
            sample_rate, channels, generator, progress, settings: as for `forward`.

        Yields:
            A `StemSeparation` for each piece, without masks; the confidence of the last is the recording's.

        Raises:
            ValueError: as `forward`.
        """
        for part in self._stream(read, length, sample_rate, channels, generator, progress, settings):
            result = self._result(part)
            del part  # not to be held beside the next piece
            yield result
            del result

    if TYPE_CHECKING:

        def __call__(
            self,
            audio: checks.Audio,
            sample_rate: float,
            channels: bool = False,
            *,
            generator: torch.Generator | None = None,
            keep_masks: bool | None = None,
            progress: Callable[[int, int], None] | None = None,
            **settings: Any,
        ) -> StemSeparation: ...

    def _synthesise(self, mask: Tensor, spectrum: Tensor, length: int) -> Tensor:
        """Compute the audio of all sources but the rest: `(K - 1, ..., length)`."""
        rest = self.sources.index(self.rest)
        masks = [one for k, one in enumerate(mask.unbind(-3)) if k != rest]
        return torch.stack([masked_istft(one, spectrum, self.geometry, length) for one in masks])

    def _result(self, done: Separated) -> StemSeparation:
        """Name the stems; the rest is the mixture minus all others."""
        stems = dict(zip([name for name in self.sources if name != self.rest], done.stems, strict=True))
        stems[self.rest] = done.audio - done.stems.sum(0)
        stems = {name: stems[name] for name in self.sources}
        mask, masks, _ = (None, {}, None) if done.estimate is None else done.estimate
        return StemSeparation(stems, mask, *done.confidence, masks=masks, sample_rate=done.sample_rate)
