"""Gram matrices of weighted embeddings and labels, from a network's output: what clustering losses need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from torchprim.kernels.dispatch import takes_kernel
from torchprim.kernels.layout import empty_gradient, frames_first

CHUNK = 4096  # bins that a CPU takes at a time: with D = 20 they stay in the cache of a core
EPSILON = 1e-12  # the least norm, as of `torch.nn.functional.normalize`
LARGEST = 64  # dimensions of an embedding that the kernel takes


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


def _precision(points: Tensor) -> torch.dtype:
    return torch.float64 if points.dtype == torch.float64 else torch.float32


def reference(points: Tensor, labels: Tensor, weights: Tensor, logits: bool) -> Tensor:
    """The equation as it is written, with all rows at once."""
    points, labels, weights = (x.to(_precision(points)) for x in (points, labels, weights))
    if logits:
        points = torch.nn.functional.normalize(torch.sigmoid(points), dim=-1, eps=EPSILON)
    rows = torch.cat([points, torch.stack([1 - labels, labels], -1)], -1)
    rows = (rows * weights.unsqueeze(-1)).flatten(1, 2)
    with full_float32():
        return rows.mT @ rows


def _chunks(points: Tensor, labels: Tensor, weights: Tensor, logits: bool):
    """Bins in chunks: item, place, points to multiply, weights / norm, weighted classes, 1 / norm².

    The norm goes to the weights, so that no embedding is made.
    """
    precision = _precision(points)
    ones = points.new_ones(points.shape[-1], dtype=precision)
    for item, (own, soft, weight) in enumerate(zip(points, labels, weights, strict=True)):
        for first in range(0, len(own), CHUNK):
            place = slice(first, first + CHUNK)
            x, scale, label = (t[place].to(precision) for t in (own, weight, soft))
            classes = torch.stack([1 - label, label], -1).mul_(scale.unsqueeze(-1))
            shrink = None
            if logits:
                x = torch.sigmoid(x)
                shrink = (x.square() @ ones).clamp_(min=EPSILON**2).reciprocal_()
                scale = scale * shrink.sqrt()
            yield item, place, x, scale, classes, shrink


def _flat(tensors: tuple[Tensor, ...], swapped: bool) -> list[Tensor]:
    """Bins in one axis, in the order in which the points lie: none of them is copied for it."""
    return [(x.transpose(1, 2) if swapped else x).flatten(1, 2) for x in tensors]


def in_chunks(points: Tensor, labels: Tensor, weights: Tensor, logits: bool) -> Tensor:
    """As `reference`, with no array as large as the points."""
    dimensions = points.shape[-1]
    # In double precision: some products of few columns are summed one by one, 3e-5 off over 262,400 bins.
    result = points.new_zeros(len(points), dimensions + 2, dimensions + 2, dtype=torch.float64)
    flat = _flat((points, labels, weights), frames_first(points))
    with full_float32(), torch.autocast(points.device.type, enabled=False):
        for item, _, x, scale, classes, _ in _chunks(*flat, logits):
            weighted = x * scale.unsqueeze(-1)
            result[item, :dimensions, :dimensions] += weighted.T @ weighted
            result[item, :dimensions, dimensions:] += weighted.T @ classes
            result[item, dimensions:, dimensions:] += classes.T @ classes
    result[:, dimensions:, :dimensions] = result[:, :dimensions, dimensions:].mT
    return result.to(_precision(points))


def gradient_in_chunks(
    gradient: Tensor, points: Tensor, labels: Tensor, weights: Tensor, logits: bool
) -> Tensor:
    """Gradient to the points, in their precision."""
    dimensions = points.shape[-1]
    slope = gradient + gradient.mT
    own, cross = slope[:, :dimensions, :dimensions], slope[:, dimensions:, :dimensions]
    result, swapped = empty_gradient(points), frames_first(points)
    *flat, into = _flat((points, labels, weights, result), swapped)  # the last is a view
    with full_float32(), torch.autocast(points.device.type, enabled=False):
        for item, place, x, scale, classes, shrink in _chunks(*flat, logits):
            scale = scale.unsqueeze(-1)
            g = (x * scale) @ own[item]
            g.addmm_(classes, cross[item])
            if logits:
                # The norm takes the part along the embedding away; the sigmoid's slope is x - x².
                along = (g * x).sum(-1).mul_(shrink)
                along = torch.where(shrink < EPSILON**-2, along, 0)
                g.addcmul_(x, along.unsqueeze(-1), value=-1).mul_(x).addcmul_(g, x, value=-1)
            into[item, place] = g.mul_(scale)
    return result


def _takes_kernel(points: Tensor, labels: Tensor, weights: Tensor, *more: Tensor) -> bool:
    return points.shape[-1] <= LARGEST and takes_kernel(points, labels, weights, *more)


@torch.library.custom_op("torchprim::embedding_grams", mutates_args=())
def _grams(points: Tensor, labels: Tensor, weights: Tensor, logits: bool) -> Tensor:
    if _takes_kernel(points, labels, weights):
        from torchprim.kernels.clustering import embedding_grams_triton

        return embedding_grams_triton.forward(points, labels, weights, logits)
    return in_chunks(points, labels, weights, logits)


@_grams.register_fake
def _(points, labels, weights, logits):
    size = points.shape[-1] + 2
    return points.new_empty(points.shape[0], size, size, dtype=_precision(points))


@torch.library.custom_op("torchprim::embedding_grams_backward", mutates_args=())
def _grams_backward(
    gradient: Tensor, points: Tensor, labels: Tensor, weights: Tensor, logits: bool
) -> Tensor:
    if _takes_kernel(points, labels, weights, gradient):
        from torchprim.kernels.clustering import embedding_grams_triton

        return embedding_grams_triton.backward(gradient, points, labels, weights, logits)
    return gradient_in_chunks(gradient, points, labels, weights, logits)


@_grams_backward.register_fake
def _(gradient, points, labels, weights, logits):
    return empty_gradient(points)


def _remember(ctx, inputs, output):
    *tensors, ctx.logits = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx, gradient):
    return _grams_backward(gradient, *ctx.saved_tensors, ctx.logits), None, None, None


_grams.register_autograd(_gradients, setup_context=_remember)


def embedding_grams(points: Tensor, labels: Tensor, weights: Tensor, logits: bool = False) -> Tensor:
    """Gram matrix of the rows w (v, 1 - l, l) over all bins of each item.

    v is the embedding, or sigmoid(x) / |sigmoid(x)| of a network's raw output x (section 4 of the paper);
    l says how much of a bin is vocals, w is its weight (Hershey et al. 2016). The points are read once, and
    once more for the gradient; nothing of their size is made but that gradient.

    Args:
        points: `(B, F, N, D)`, the embedding or the raw output, in any layout; half precision is computed
            in float32.
        labels: `(B, F, N)`, boolean or in [0, 1].
        weights: `(B, F, N)`. Neither labels nor weights receive a gradient.
        logits: whether the points are raw outputs.

    Returns:
        `(B, D + 2, D + 2)`: VᵀV `[:, :D, :D]`, VᵀY `[:, :D, D:]`, YᵀY `[:, D:, D:]`, in float32, or float64
        for points in float64.

    Example:
        >>> import torch
        >>> from torchprim.kernels.clustering.embedding_grams import embedding_grams
        >>> labels = torch.tensor([[[True], [False]]])
        >>> embedding_grams(torch.eye(2).reshape(1, 2, 1, 2), labels, torch.full((1, 2, 1), 2.0))
        tensor([[[4., 0., 0., 4.],
                 [0., 4., 4., 0.],
                 [0., 4., 4., 0.],
                 [4., 0., 0., 4.]]])
    """
    return _grams(points, labels.detach(), weights.detach(), logits)
