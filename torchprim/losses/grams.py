"""Weighted Gram matrices of embeddings and labels, the sufficient statistics of the clustering losses."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.kernels.clustering.embedding_grams import embedding_grams


class Grams(NamedTuple):
    """VᵀV `(B, D, D)`, VᵀY `(B, D, K)`, YᵀY `(B, K, K)` with weighted rows, and Σ w² `(B,)`."""

    embedding: Tensor
    cross: Tensor
    labels: Tensor
    total: Tensor


def weighted_grams(
    embedding: Tensor, labels: Tensor, weights: Tensor, *, logits: bool = False, classes: int = 2
) -> Grams:
    """Compute the Gram matrices of the rows w v and w y, over all bins of each item.

    y = (1 - l, l) of two classes: the first is the accompaniment. Of K > 2 y is the one-hot of l.

    Args:
        embedding: `(B, F, N, D)`; half precision is computed in float32.
        labels: `(B, F, N)`, boolean or in [0, 1]: l, the share of vocals in a bin. Of more than two classes
            their numbers in [0, K), of an integer dtype.
        weights: `(B, F, N)`, not negative. Like the labels they receive no gradient.
        logits: whether the first argument is the raw output of an embedding head. `unit_embedding` of it
            is then never materialised.
        classes: K, at least 2.

    Returns:
        A `Grams`, float32, or float64 for an embedding in float64.

    Raises:
        ValueError: for an embedding that is not real and floating point, shapes that do not fit, fewer than 2
            classes, labels of more that are no integers, or on a CPU labels or weights out of range.

    Example:
        >>> import torch
        >>> from torchprim.losses.grams import weighted_grams
        >>> v, l = torch.eye(2).reshape(1, 2, 1, 2), torch.tensor([[[True], [False]]])
        >>> weighted_grams(v, l, torch.full((1, 2, 1), 2.0)).cross
        tensor([[[0., 4.],
                 [4., 0.]]])
    """
    embedding = checks.floating(embedding, "embedding", 4, "(B, F, N, D)")
    for name, value in (("labels", labels), ("weights", weights)):
        if not isinstance(value, Tensor) or value.shape != embedding.shape[:-1]:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"{name} must have the embedding's shape {tuple(embedding.shape[:-1])}, got {shape}"
            )
        checks.same_device(checks.dense(value, name), name, embedding, "embedding")
        if value.is_complex():
            raise ValueError(f"{name} must be real, got dtype {value.dtype}")
    checks.integer(classes, "classes", 2)
    if classes > 2 and (labels.is_floating_point() or labels.dtype == torch.bool):
        raise ValueError(f"labels of {classes} classes must be of an integer dtype, got {labels.dtype}")
    checks.in_range(labels, "labels", 0, classes - 1)
    checks.in_range(weights, "weights", 0)
    gram = embedding_grams(embedding, labels, weights, logits, classes)  # of the rows w (v, y)
    dimensions = embedding.shape[-1]
    of_labels = gram[:, dimensions:, dimensions:].detach()
    # y adds up to 1, so that the entries of YᵀY add up to Σ w².
    total = of_labels.sum((-2, -1))
    return Grams(gram[:, :dimensions, :dimensions], gram[:, :dimensions, dimensions:], of_labels, total)


def divisor(total: Tensor) -> Tensor:
    """Replace zeros by 1, so that dividing by it is finite."""
    return torch.where(total > 0, total, 1)
