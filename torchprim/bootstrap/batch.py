"""Training batches: remixes with their spectra, labels and weights."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.spectra.stft import Geometry, stft


class RemixBatch(NamedTuple):
    """A batch of B remixed sequences; mixture = vocals + accompaniment."""

    mixture: Tensor  # (B, T)
    vocals: Tensor  # (B, T)
    accompaniment: Tensor  # (B, T)
    magnitude: Tensor  # (B, F, N) of the mixture
    spectra: Tensor  # (B, 2, F, N) complex, of accompaniment and vocals
    labels: Tensor  # (B, F, N) bool: the vocals are louder
    weights: Tensor  # (B, F, N) sqrt(|X| / mean |X|)
    confidence: Tensor  # (B,) minimum of the two estimates'

    def __repr__(self) -> str:
        mixtures, samples = self.mixture.shape
        spectra = f"magnitude {tuple(self.magnitude.shape)}"
        return f"RemixBatch({mixtures} mixtures of {samples} samples, {spectra}, on {self.mixture.device})"


def make_batch(
    vocals: Tensor, accompaniment: Tensor, geometry: Geometry, confidence: Tensor | None = None
) -> RemixBatch:
    """Mix two sources; compute spectra, labels and weights (section 4.1 of the paper).

    The STFT is that of the time-domain mixture, so that the spectrum is consistent.

    Args:
        vocals: `(B, T)`.
        accompaniment: `(B, T)`.
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
    """Do the same for accompaniment and vocals in one tensor `(B, 2, T)`, without a copy."""
    accompaniment, vocals = sources.unbind(1)
    spectra = stft(sources, geometry)  # (B, 2, F, N)
    magnitude = spectra.sum(1).abs()
    levels = spectra.abs()  # one pass; squares and their sum are three, and slower on a CPU, too
    labels = levels[:, 1] > levels[:, 0]
    mean = magnitude.mean((-2, -1), keepdim=True)
    weights = (magnitude / torch.where(mean > 0, mean, 1)).sqrt()
    confidence = vocals.new_ones(len(vocals)) if confidence is None else confidence
    mixture = vocals + accompaniment
    return RemixBatch(mixture, vocals, accompaniment, magnitude, spectra, labels, weights, confidence)
