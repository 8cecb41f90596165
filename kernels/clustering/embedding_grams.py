"""Gram matrices of weighted embeddings and labels, from a network's output, for clustering losses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from torchprim.kernels.register import register_gradient, register_operator

CHUNK = 4096  # bins at a time on a CPU: with D = 20 they stay in the L2 cache
EPSILON = 1e-12  # the least norm, as of `torch.nn.functional.normalize`
LARGEST = 64  # dimensions of an embedding that the kernel takes
MOST = 128  # columns of a row, dimensions and classes, that it takes


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute float32 products in float32: neither TF32 nor bfloat16, whatever the program has chosen.

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


def frames_first(points: Tensor) -> bool:
    """Return whether `(B, F, N, D)` lies in memory as `(B, N, F, D)`, as a recurrent network makes it."""
    return not points.is_contiguous() and points.transpose(1, 2).is_contiguous()


def empty_gradient(points: Tensor) -> Tensor:
    """Allocate a gradient: frames first where the points are, else contiguous."""
    if frames_first(points):
        return torch.empty_like(points.transpose(1, 2)).transpose(1, 2)
    return torch.empty_like(points, memory_format=torch.contiguous_format)


def _dtype(points: Tensor) -> torch.dtype:
    return torch.float64 if points.dtype == torch.float64 else torch.float32


def _members(labels: Tensor, weights: Tensor | float, classes: int) -> Tensor:
    """Return the weighted one-hot of class numbers, `(..., K)`: zeros for a number that is no class.

    Classes lie first in memory, as vectors of the CPU want it.
    """
    numbers = torch.arange(classes, dtype=labels.dtype, device=labels.device)
    numbers = numbers.reshape(classes, *(1 for _ in labels.shape))
    return torch.where(labels == numbers, weights, 0).movedim(0, -1)


def reference(points: Tensor, labels: Tensor, weights: Tensor, logits: bool, classes: int) -> Tensor:
    """Compute the equation as it is written, with all rows at once."""
    points, labels, weights = (x.to(_dtype(points)) for x in (points, labels, weights))
    if logits:
        points = torch.nn.functional.normalize(torch.sigmoid(points), dim=-1, eps=EPSILON)
    members = torch.stack([1 - labels, labels], -1) if classes == 2 else _members(labels, 1.0, classes)
    rows = torch.cat([points, members], -1)
    rows = (rows * weights.unsqueeze(-1)).flatten(1, 2)
    with full_float32():
        return rows.mT @ rows


def _chunks(points: Tensor, labels: Tensor, weights: Tensor, logits: bool, classes: int):
    """Yield chunks of bins: item, slice, points to multiply, weights / norm, weighted members, 1 / norm².

    The norm is applied to the weights: the embedding is never materialised.
    """
    dtype = _dtype(points)
    ones = points.new_ones(points.shape[-1], dtype=dtype)
    for item, tensors in enumerate(zip(points, weights, labels, strict=True)):
        for first in range(0, len(tensors[0]), CHUNK):
            chunk = slice(first, first + CHUNK)
            x, scale, label = (t[chunk].to(dtype) for t in tensors)
            if classes == 2:
                members = torch.stack([1 - label, label], -1).mul_(scale.unsqueeze(-1))
            else:
                members = _members(label, scale, classes)
            over_square = None
            if logits:
                x = torch.sigmoid(x)
                over_square = (x.square() @ ones).clamp_(min=EPSILON**2).reciprocal_()
                scale = scale * over_square.sqrt()
            yield item, chunk, x, scale, members, over_square


def _flat(tensors: tuple[Tensor, ...], swapped: bool) -> list[Tensor]:
    """Flatten bins and frames to one axis, in the order of the points in memory: points are not copied."""
    return [(x.transpose(1, 2) if swapped else x).flatten(1, 2) for x in tensors]


def in_chunks(points: Tensor, labels: Tensor, weights: Tensor, logits: bool, classes: int) -> Tensor:
    """Compute `reference` with no array as large as the points."""
    dimensions = points.shape[-1]
    size = dimensions + classes
    # In float64: some products of few columns are summed sequentially, 3e-5 off over 262,400 bins.
    result = points.new_zeros(len(points), size, size, dtype=torch.float64)
    flat = _flat((points, labels, weights), frames_first(points))
    with full_float32(), torch.autocast(points.device.type, enabled=False):
        for item, _, x, scale, members, _ in _chunks(*flat, logits, classes):
            weighted = x * scale.unsqueeze(-1)
            result[item, :dimensions, :dimensions] += weighted.T @ weighted
            result[item, :dimensions, dimensions:] += weighted.T @ members
            result[item, dimensions:, dimensions:] += members.T @ members
    result[:, dimensions:, :dimensions] = result[:, :dimensions, dimensions:].mT
    return result.to(_dtype(points))


def gradient_in_chunks(
    gradient: Tensor, points: Tensor, labels: Tensor, weights: Tensor, logits: bool, classes: int
) -> Tensor:
    """Compute the gradient to the points, in their dtype."""
    dimensions = points.shape[-1]
    slope = gradient + gradient.mT
    points_slope, classes_slope = slope[:, :dimensions, :dimensions], slope[:, dimensions:, :dimensions]
    result, swapped = empty_gradient(points), frames_first(points)
    *flat, out = _flat((points, labels, weights, result), swapped)  # the last is a view
    with full_float32(), torch.autocast(points.device.type, enabled=False):
        for item, chunk, x, scale, members, over_square in _chunks(*flat, logits, classes):
            scale = scale.unsqueeze(-1)
            g = (x * scale) @ points_slope[item]
            g.addmm_(members, classes_slope[item])
            if logits:
                # The norm removes the component along the embedding; the sigmoid's derivative is x - x².
                along = (g * x).sum(-1).mul_(over_square)
                along = torch.where(over_square < EPSILON**-2, along, 0)
                g.addcmul_(x, along.unsqueeze(-1), value=-1).mul_(x).addcmul_(g, x, value=-1)
            out[item, chunk] = g.mul_(scale)
    return result


def _empty_grams(points: Tensor, classes: int) -> Tensor:
    size = points.shape[-1] + classes
    return points.new_empty(points.shape[0], size, size, dtype=_dtype(points))


def _kernel_fits(points: Tensor, classes: int) -> bool:
    return points.shape[-1] <= LARGEST and points.shape[-1] + classes <= MOST


_grams = register_operator(
    "embedding_grams",
    in_chunks,
    kernel="embedding_grams_triton.forward",
    fake=_empty_grams,
    fits=_kernel_fits,
)
_grams_backward = register_operator(
    "embedding_grams_backward",
    gradient_in_chunks,
    kernel="embedding_grams_triton.backward",
    fake=empty_gradient,
    fits=_kernel_fits,
)
register_gradient(_grams, _grams_backward, to=("points",))


def embedding_grams(
    points: Tensor, labels: Tensor, weights: Tensor, logits: bool = False, classes: int = 2
) -> Tensor:
    """Compute the Gram matrix of the rows w (v, y) over all bins of each item.

    v is the embedding, or sigmoid(x) / |sigmoid(x)| of a network's raw output x (section 4 of the paper);
    w is the weight of a bin (Hershey et al. 2016). y is (1 - l, l) of two classes, l the share of vocals in
    the bin; of K > 2 it is the one-hot of the class number l, and of a number that is none it is 0. The
    points are read once, and once more for the gradient; nothing of their size is materialised but that
    gradient.

    Args:
        points: `(B, F, N, D)`, the embedding or the raw output, in any layout; half precision is
            computed in float32.
        labels: `(B, F, N)`, boolean or in [0, 1]; of more than two classes whole numbers in [0, K).
        weights: `(B, F, N)`. Neither labels nor weights receive a gradient.
        logits: whether the points are raw outputs.
        classes: K, at least 2.

    Returns:
        `(B, D + K, D + K)`: VᵀV `[:, :D, :D]`, VᵀY `[:, :D, D:]`, YᵀY `[:, D:, D:]`, in float32, or float64
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
    return _grams(points, labels.detach(), weights.detach(), logits, classes)
