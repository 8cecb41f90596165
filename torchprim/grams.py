"""Weighted Gram matrices of embeddings and labels: all that the clustering losses need of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from torchprim import checks


class Grams(NamedTuple):
    """VᵀV `(B, D, D)`, VᵀY `(B, D, 2)`, YᵀY `(B, 2, 2)` with weighted rows, and Σ w² `(B,)`."""

    embedding: Tensor
    cross: Tensor
    labels: Tensor
    total: Tensor


@contextmanager
def full_float32() -> Iterator[None]:
    """float32 products in float32: neither TF32 nor bfloat16, whatever the program has chosen.

    The losses are small differences of large sums.
    """
    products = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = [product.fp32_precision for product in products]
    try:
        for product in products:
            product.fp32_precision = "ieee"
        yield
    finally:
        for product, precision in zip(products, before, strict=True):
            product.fp32_precision = precision


class _EmbeddingGrams(torch.autograd.Function):
    """Σ w² v vᵀ and Σ w² v yᵀ over the bins of each item.

    Only the embedding itself is kept for the backward pass, and the weighted copy that a product needs
    is made of one item at a time.
    """

    @staticmethod
    def forward(ctx, embedding: Tensor, labels: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(embedding, labels, square)
        items, dimensions = embedding.shape[0], embedding.shape[-1]
        gram = embedding.new_empty(items, dimensions, dimensions)
        cross = embedding.new_empty(items, dimensions, 2)
        with full_float32(), torch.autocast(embedding.device.type, enabled=False):
            for i in range(items):
                weighted = (embedding[i] * square[i].unsqueeze(-1)).T  # (D, P)
                torch.mm(weighted, embedding[i], out=gram[i])
                torch.mm(weighted, labels[i], out=cross[i])
        return gram, cross

    @staticmethod
    @once_differentiable
    def backward(ctx, gram: Tensor, cross: Tensor):
        embedding, labels, square = ctx.saved_tensors
        gradient = torch.empty_like(embedding)
        symmetric = gram + gram.transpose(-2, -1)
        with full_float32(), torch.autocast(embedding.device.type, enabled=False):
            for i in range(embedding.shape[0]):
                torch.mm(embedding[i], symmetric[i], out=gradient[i])
                gradient[i].addmm_(labels[i], cross[i].T).mul_(square[i].unsqueeze(-1))
        return gradient, None, None


def weighted_grams(embedding: Tensor, labels: Tensor, weights: Tensor) -> Grams:
    """Gram matrices of the rows w v and w y, over all bins of each item.

    y = (1 - l, l): the first class is the accompaniment.

    Args:
        embedding: `(B, F, N, D)`; half precision is computed in float32.
        labels: `(B, F, N)`, boolean or in [0, 1]: how much of the bin is vocals.
        weights: `(B, F, N)`, not negative. Like the labels they receive no gradient.

    Returns:
        A `Grams`.

    Raises:
        ValueError: for shapes that do not fit.

    Example:
        >>> import torch
        >>> from torchprim.grams import weighted_grams
        >>> v, l = torch.eye(2).reshape(1, 2, 1, 2), torch.tensor([[[True], [False]]])
        >>> weighted_grams(v, l, torch.full((1, 2, 1), 2.0)).cross
        tensor([[[0., 4.],
                 [4., 0.]]])
    """
    embedding = checks.real(embedding, "embedding", 4, "(B, F, N, D)")
    for name, value in (("labels", labels), ("weights", weights)):
        if not isinstance(value, Tensor) or value.shape != embedding.shape[:-1]:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"{name} must have the embedding's shape {tuple(embedding.shape[:-1])}, got {shape}"
            )
    labels, square = labels.detach().to(embedding.dtype), weights.detach().to(embedding.dtype).square()
    if not embedding.is_contiguous() and embedding.transpose(-3, -2).is_contiguous():
        # Frames first, as a recurrent network makes it: the order of the bins changes nothing.
        embedding, labels, square = (x.transpose(1, 2) for x in (embedding, labels, square))
    embedding, square = embedding.flatten(1, 2), square.flatten(1)  # (B, P, D), (B, P)
    classes = torch.stack([1 - labels, labels], -1).flatten(1, 2)  # (B, P, 2)
    gram, cross = _EmbeddingGrams.apply(embedding, classes, square)
    with full_float32(), torch.autocast(embedding.device.type, enabled=False):
        own = (classes * square.unsqueeze(-1)).mT @ classes
    return Grams(gram, cross, own, square.sum(-1))
