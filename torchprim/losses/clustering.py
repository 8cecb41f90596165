"""Clustering losses of an embedding, from Gram matrices: deep clustering and whitened k-means."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim import checks
from torchprim.losses.grams import Grams, divisor, weighted_grams

REGULARISATION = 1e-3


def deep_clustering_loss(embedding: Tensor, labels: Tensor, weights: Tensor, classes: int = 2) -> Tensor:
    """Compute the deep clustering loss (Hershey et al. 2016): affinities of bins against their labels'.

    (|VᵀV|² - 2 |VᵀY|² + |YᵀY|²) / (Σ w²)², the squared Frobenius norm of V Vᵀ - Y Yᵀ with the rows of V and
    Y multiplied by w, normalised for each item, so that loudness and length do not count: weights of 1e-15 to
    1e15 give the same loss. A row of Y is the one-hot, of K numbers, of the bin's class.

    Args:
        embedding: `(B, F, N, D)`, rows of unit norm.
        labels: `(B, F, N)`, true (or 1) where vocals are louder; of more than two classes the number of the
            loudest, whole numbers in [0, K).
        weights: `(B, F, N)`, not negative, such as the square root of the mixture's magnitude over its
            mean.
        classes: K, at least 2.

    Returns:
        The mean over the batch, a scalar in [0, 1] for labels of 0 and 1 and embeddings in one orthant.
        An item whose weights are all 0 counts as 0.

    Raises:
        ValueError: for an embedding that is not real and floating point, shapes that do not fit, fewer than 2
            classes, labels of more that are no integers, or on a CPU labels or weights out of range.

    Example:
        >>> import torch, torchprim as tp
        >>> labels, weights = torch.rand(2, 65, 40) > 0.5, torch.rand(2, 65, 40)
        >>> perfect = torch.stack([labels, ~labels], -1).float()
        >>> bool(tp.deep_clustering_loss(perfect, labels, weights) < 1e-6)
        True
        >>> labels = torch.randint(4, (2, 65, 40))
        >>> perfect = torch.nn.functional.one_hot(labels).float()
        >>> bool(tp.deep_clustering_loss(perfect, labels, weights, classes=4) < 1e-6)
        True
    """
    return deep_clustering_from_grams(weighted_grams(embedding, labels, weights, classes=classes))


def deep_clustering_from_grams(grams: Grams) -> Tensor:
    """Compute `deep_clustering_loss` from Gram matrices that are known already."""
    # Divided before they are squared: fourth powers of weights would leave the range of float32.
    total = divisor(grams.total)[:, None, None]
    embedding, cross, labels = (gram / total for gram in (grams.embedding, grams.cross, grams.labels))
    return (_squared_norm(embedding) - 2 * _squared_norm(cross) + _squared_norm(labels)).mean()


def whitened_kmeans_loss(
    embedding: Tensor,
    labels: Tensor,
    weights: Tensor,
    regularisation: float = REGULARISATION,
    classes: int = 2,
) -> Tensor:
    """Compute the whitened k-means loss (Wang, Le Roux and Hershey 2018, equation 10).

    1 - tr((VᵀV + λ a I)⁻¹ VᵀY (YᵀY + λ b I)⁻¹ YᵀV) / D, the spread about the class means after whitening,
    with the rows of V and Y multiplied by w. a and b are the means of the diagonals: without them a
    dimension that is not used yet, or an item with one class alone, has a singular matrix.

    Args:
        embedding: `(B, F, N, D)`.
        labels: `(B, F, N)`, true (or 1) where vocals are louder; of more than two classes the number of the
            loudest, whole numbers in [0, K).
        weights: `(B, F, N)`, not negative.
        regularisation: λ, positive.
        classes: K, at least 2.

    Returns:
        The mean over the batch, a scalar in [1 - K / D, 1], or in [0, 1] where K exceeds D. An item whose
        weights are all 0 counts as 0.

    Raises:
        ValueError: for an embedding that is not real and floating point, shapes that do not fit, a
            regularisation that is not positive, fewer than 2 classes, labels of more that are no integers, or
            on a CPU labels or weights out of range.

    Example:
        >>> import torch, torchprim as tp
        >>> labels = torch.rand(2, 65, 40) > 0.5
        >>> perfect = torch.stack([labels, ~labels], -1).float()
        >>> round(tp.whitened_kmeans_loss(perfect, labels, torch.ones(2, 65, 40)).item(), 2)
        0.0
    """
    grams = weighted_grams(embedding, labels, weights, classes=classes)
    checks.positive(regularisation, "regularisation", grams.embedding)
    return whitened_kmeans_from_grams(grams, regularisation)


def whitened_kmeans_from_grams(grams: Grams, regularisation: float = REGULARISATION) -> Tensor:
    """Compute `whitened_kmeans_loss` from Gram matrices that are known already."""
    dimensions = grams.cross.shape[-2]
    # Inverses of nearly singular matrices of 20 x 20 want double precision, which costs nothing there.
    embedding, labels, cross = map(checks.double, (grams.embedding, grams.labels, grams.cross))
    whitened = _solve(embedding, cross, regularisation)  # (B, D, K)
    projected = _solve(labels, cross.mT, regularisation)  # (B, K, D)
    explained = (whitened * projected.mT).sum((-2, -1)).to(grams.total.device)
    loss = torch.where(grams.total > 0, 1 - explained / dimensions, 0)
    return loss.mean().to(grams.total.dtype)


def _squared_norm(matrix: Tensor) -> Tensor:
    """Compute the squared Frobenius norm."""
    return matrix.square().sum((-2, -1))


def _solve(matrix: Tensor, right: Tensor, regularisation: float) -> Tensor:
    """Compute (M + λ a I)⁻¹ R with a the mean of M's diagonal, or 1 for a matrix of zeros."""
    size = matrix.shape[-1]
    scale = divisor(matrix.diagonal(dim1=-2, dim2=-1).mean(-1))
    eye = torch.eye(size, dtype=matrix.dtype, device=matrix.device)
    # `solve` synchronises with the device to refuse singular matrices; these are regularised.
    return torch.linalg.solve_ex(matrix + regularisation * scale[:, None, None] * eye, right).result
