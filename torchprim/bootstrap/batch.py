"""Training batches: remixes with their spectra, labels and weights."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.spectra.stft import Geometry, stft


class RemixBatch(NamedTuple):
    """A batch of B remixed sequences of K sources, which add up to the mixture.

    Sources are numbered by their classes: of two 0 is the accompaniment and 1 the vocals, of more they are in
    the order of their names, `RemixStream.sources`. In stereo the sounds have two channels, and all else is
    that of their mean, as a separator's mask is.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.bootstrap.batch import make_batch
        >>> batch = make_batch(torch.randn(3, 2, 5120), torch.randn(3, 2, 5120), tp.Geometry())
        >>> mixture, sources = batch.pair()
        >>> mixture.shape, sources.shape, batch.magnitude.shape
        (torch.Size([3, 2, 5120]), torch.Size([3, 2, 2, 5120]), torch.Size([3, 1025, 11]))
    """

    mixture: Tensor  # (B, T), in stereo (B, 2, T)
    sources: Tensor  # (B, K, T), in stereo (B, K, 2, T), by class
    magnitude: Tensor  # (B, F, N) of the mixture
    spectra: Tensor  # (B, K, F, N) complex, by class
    labels: Tensor  # (B, F, N) class of the loudest source: bool of two, else uint8
    weights: Tensor  # (B, F, N) sqrt(|X| / mean |X|)
    confidence: Tensor  # (B,) minimum of the estimates'

    @property
    def vocals(self) -> Tensor:
        """Vocals, `(B, T)` or `(B, 2, T)`, in a batch of two sources."""
        return self._class(1)

    @property
    def accompaniment(self) -> Tensor:
        """Accompaniment, `(B, T)` or `(B, 2, T)`, in a batch of two sources."""
        return self._class(0)

    def _class(self, number: int) -> Tensor:
        if (count := self.sources.shape[1]) != 2:
            raise AttributeError(f"a batch of {count} sources has `sources`, in the order of their classes")
        return self.sources[:, number]

    def pair(self) -> tuple[Tensor, Tensor]:
        """Return mixture `(B, C, T)` and sources `(B, K, C, T)`, of two the vocals first, for other loops."""
        sources = self.sources.flip(1) if self.sources.shape[1] == 2 else self.sources
        if self.mixture.dim() == 3:
            return self.mixture, sources
        return self.mixture.unsqueeze(1), sources.unsqueeze(2)

    def mono(self) -> Tensor:
        """Return the mixture `(B, T)`, the mean of its channels."""
        return self.mixture if self.mixture.dim() == 2 else self.mixture.mean(1)

    def __repr__(self) -> str:
        sounds = f"{len(self.mixture)} mixtures of {self.mixture.shape[-1]} samples"
        if (count := self.sources.shape[1]) > 2:
            sounds += f", {count} sources"
        return f"RemixBatch({sounds}, magnitude {tuple(self.magnitude.shape)}, on {self.mixture.device})"


def make_batch(
    vocals: Tensor, accompaniment: Tensor, geometry: Geometry, confidence: Tensor | None = None
) -> RemixBatch:
    """Mix two sources; compute spectra, labels and weights (section 4.1 of the paper).

    The STFT is that of the time-domain mixture, so that the spectrum is consistent.

    Args:
        vocals: `(B, T)`, in stereo `(B, 2, T)`.
        accompaniment: likewise.
        geometry: of the STFT.
        confidence: `(B,)`; 1 by default.

    Returns:
        A `RemixBatch`.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.bootstrap.batch import make_batch
        >>> batch = make_batch(torch.randn(2, 5120), torch.zeros(2, 5120), tp.Geometry())
        >>> batch.magnitude.shape, bool(batch.labels.all())
        (torch.Size([2, 1025, 11]), True)
    """
    return mix(torch.stack([accompaniment, vocals], 1), geometry, confidence)


def mix(sources: Tensor, geometry: Geometry, confidence: Tensor | None = None) -> RemixBatch:
    """Mix sources in one tensor, `(B, K, T)` or `(B, K, 2, T)` by class, likewise.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.bootstrap.batch import mix
        >>> batch = mix(torch.randn(2, 3, 5120), tp.Geometry())
        >>> batch.spectra.shape, batch.labels.unique().tolist()
        (torch.Size([2, 3, 1025, 11]), [0, 1, 2])
    """
    spectra = stft(sources if sources.dim() == 3 else sources.mean(2), geometry)  # (B, K, F, N)
    magnitude = spectra.sum(1).abs()
    levels = spectra.abs()  # one pass; squares and their sum are three, and slower on a CPU, too
    two = levels.shape[1] == 2
    # On a CPU `argmax` of this dimension takes seven times as long.
    labels = levels[:, 1] > levels[:, 0] if two else levels.max(1).indices.to(torch.uint8)
    mean = magnitude.mean((-2, -1), keepdim=True)
    weights = (magnitude / torch.where(mean > 0, mean, 1)).sqrt()
    confidence = sources.new_ones(len(sources)) if confidence is None else confidence
    mixture = sources[:, 1] + sources[:, 0] if two else sources.sum(1)
    return RemixBatch(mixture, sources, magnitude, spectra, labels, weights, confidence)
