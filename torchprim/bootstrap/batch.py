"""Training batches: remixes with their spectra, labels and weights."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.spectra.stft import Geometry, stft


class RemixBatch(NamedTuple):
    """A batch of B remixed sequences; mixture = vocals + accompaniment.

    In stereo the sounds have two channels, and all else is that of their mean, as a separator's mask is.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.bootstrap.batch import make_batch
        >>> batch = make_batch(torch.randn(3, 2, 5120), torch.randn(3, 2, 5120), tp.Geometry())
        >>> mixture, sources = batch.pair()
        >>> mixture.shape, sources.shape, batch.magnitude.shape
        (torch.Size([3, 2, 5120]), torch.Size([3, 2, 2, 5120]), torch.Size([3, 1025, 11]))
    """

    mixture: Tensor  # (B, T), in stereo (B, 2, T)
    vocals: Tensor  # likewise
    accompaniment: Tensor  # likewise
    magnitude: Tensor  # (B, F, N) of the mixture
    spectra: Tensor  # (B, 2, F, N) complex, of accompaniment and vocals
    labels: Tensor  # (B, F, N) bool: the vocals are louder
    weights: Tensor  # (B, F, N) sqrt(|X| / mean |X|)
    confidence: Tensor  # (B,) minimum of the two estimates'

    def pair(self) -> tuple[Tensor, Tensor]:
        """Return mixture `(B, C, T)` and sources `(B, 2, C, T)`, vocals first, as many loops expect."""
        sources = torch.stack([self.vocals, self.accompaniment], 1)
        if self.mixture.dim() == 3:
            return self.mixture, sources
        return self.mixture.unsqueeze(1), sources.unsqueeze(2)

    def mono(self) -> Tensor:
        """Return the mixture `(B, T)`, the mean of its channels."""
        return self.mixture if self.mixture.dim() == 2 else self.mixture.mean(1)

    def __repr__(self) -> str:
        sounds = f"{len(self.mixture)} mixtures of {self.mixture.shape[-1]} samples"
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
    """Mix likewise accompaniment and vocals in one tensor, `(B, 2, T)` or `(B, 2, 2, T)`."""
    accompaniment, vocals = sources.unbind(1)
    spectra = stft(sources if sources.dim() == 3 else sources.mean(2), geometry)  # (B, 2, F, N)
    magnitude = spectra.sum(1).abs()
    levels = spectra.abs()  # one pass; squares and their sum are three, and slower on a CPU, too
    labels = levels[:, 1] > levels[:, 0]
    mean = magnitude.mean((-2, -1), keepdim=True)
    weights = (magnitude / torch.where(mean > 0, mean, 1)).sqrt()
    confidence = vocals.new_ones(len(vocals)) if confidence is None else confidence
    mixture = vocals + accompaniment
    return RemixBatch(mixture, vocals, accompaniment, magnitude, spectra, labels, weights, confidence)
