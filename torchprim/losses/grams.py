"""Weighted Gram matrices of embeddings and labels: all that the clustering losses need of a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.kernels.clustering.embedding_grams import embedding_grams


class Grams(NamedTuple):
    """VᵀV `(B, D, D)`, VᵀY `(B, D, 2)`, YᵀY `(B, 2, 2)` with weighted rows, and Σ w² `(B,)`."""

    embedding: Tensor
    cross: Tensor
    labels: Tensor
    total: Tensor


def weighted_grams(embedding: Tensor, labels: Tensor, weights: Tensor, *, logits: bool = False) -> Grams:
    """Gram matrices of the rows w v and w y, over all bins of each item.

    y = (1 - l, l): the first class is the accompaniment.

    Args:
        embedding: `(B, F, N, D)`; half precision is computed in float32.
        labels: `(B, F, N)`, boolean or in [0, 1]: how much of the bin is vocals.
        weights: `(B, F, N)`, not negative. Like the labels they receive no gradient.
        logits: the first argument is what `unit_embedding` would make the embedding of. That embedding is
            then never in memory.

    Returns:
        A `Grams`.

    Raises:
        ValueError: for shapes that do not fit.

    Example:
        >>> import torch
        >>> from torchprim.losses.grams import weighted_grams
        >>> v, l = torch.eye(2).reshape(1, 2, 1, 2), torch.tensor([[[True], [False]]])
        >>> weighted_grams(v, l, torch.full((1, 2, 1), 2.0)).cross
        tensor([[[0., 4.],
                 [4., 0.]]])
    """
    checks.floating(embedding, "embedding", 4, "(B, F, N, D)")
    for name, value in (("labels", labels), ("weights", weights)):
        if not isinstance(value, Tensor) or value.shape != embedding.shape[:-1]:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"{name} must have the embedding's shape {tuple(embedding.shape[:-1])}, got {shape}"
            )
    rows = embedding_grams(embedding, labels, weights, logits)
    dimensions = embedding.shape[-1]
    own = rows[:, dimensions:, dimensions:].detach()
    # A class and the other one add up to 1, so that these four numbers are Σ w² together.
    return Grams(rows[:, :dimensions, :dimensions], rows[:, :dimensions, dimensions:], own, own.sum((-2, -1)))


def divisor(total: Tensor) -> Tensor:
    """A divisor: 1 where there is nothing to divide."""
    return torch.where(total > 0, total, 1)
