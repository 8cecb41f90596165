"""Base of the separators into K stems: the masks of all sources to audio that adds up to the mixture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchprim.separators.base import BaseSeparator
from torchprim.separators.piecewise import Separated
from torchprim.separators.separation import StemSeparation
from torchprim.spectra.stft import Geometry, masked_istft


class BaseStemSeparator(BaseSeparator[StemSeparation]):
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

    def _synthesise(self, mask: Tensor, spectrum: Tensor, length: int) -> Tensor:
        """Compute the audio of all sources but the rest: `(K - 1, ..., length)`."""
        rest = self.sources.index(self.rest)
        masks = [one for k, one in enumerate(mask.unbind(-3)) if k != rest]
        return torch.stack([masked_istft(one, spectrum, self.geometry, length) for one in masks])

    def _result(self, done: Separated) -> StemSeparation:
        # The rest is the mixture minus all others.
        stems = dict(zip([name for name in self.sources if name != self.rest], done.stems, strict=True))
        stems[self.rest] = done.audio - done.stems.sum(0)
        stems = {name: stems[name] for name in self.sources}
        mask, masks, _ = (None, {}, None) if done.estimate is None else done.estimate
        return StemSeparation(stems, mask, *done.confidence, masks=masks, sample_rate=done.sample_rate)
