"""Histograms of position in bands of frequency, of the vocals by a mask and of the rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchprim.kernels.register import register_gradient, register_operator
from torchprim.kernels.spatial.side_to_mid import POINTS
from torchprim.kernels.tables import constant_table


@constant_table
def first_points(edges: Sequence[int], device: torch.device) -> list[Tensor]:
    """Return the index of its band's first point for each bin, `(F, 1)`."""
    band = torch.bucketize(torch.arange(edges[-1]), torch.tensor(edges[1:-1]), right=True)
    return [(band * POINTS).int()[:, None].to(device)]


def hats(position: Tensor, edges: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the index of the point below each position, `(..., F * N)`, and the share of the point above."""
    lower = position.floor().clamp_(max=POINTS - 2)
    share = position - lower
    (first,) = first_points(tuple(edges), position.device)
    return (lower.long().add_(first)).flatten(-2), share.flatten(-2)


def interpolate(table: Tensor, position: Tensor, edges: Sequence[int]) -> Tensor:
    """Interpolate a table of each item, `(..., bands, POINTS)`, at each position `(..., F, N)`."""
    index, share = hats(position, edges)
    flat = table.flatten(-2)
    below = flat.gather(-1, index)
    return torch.lerp(below, flat.gather(-1, index.add_(1)), share).view(position.shape)


def reference(position: Tensor, weight: Tensor, mask: Tensor | None, edges: Sequence[int]) -> Tensor:
    """Compute the histograms by one addition for each neighbouring point."""
    index, share = hats(position, edges)
    parts = [weight] if mask is None else [weight * mask, weight * (1 - mask)]
    histograms = weight.new_zeros(*position.shape[:-2], len(parts), (len(edges) - 1) * POINTS)
    for i, part in enumerate(parts):
        above = part.flatten(-2) * share
        histograms[..., i, 1:].scatter_add_(-1, index, above)
        histograms[..., i, :].scatter_add_(-1, index, part.flatten(-2) - above)
    return histograms.unflatten(-1, (len(edges) - 1, POINTS))


def reference_gradient(
    gradient: Tensor, position: Tensor, weight: Tensor, mask: Tensor, edges: Sequence[int]
) -> Tensor:
    """Compute the gradient of the mask: the weight times the difference of the histograms' gradients."""
    vocals, accompaniment = gradient.unbind(-3)
    return weight * interpolate(vocals - accompaniment, position, edges)


_histograms = register_operator(
    "position_histograms",
    reference,
    kernel="position_histograms_triton.forward",
    fake=lambda position, mask, edges: position.new_empty(
        *position.shape[:-2], 1 if mask is None else 2, len(edges) - 1, POINTS
    ),
)
_backward = register_operator(
    "position_histograms_backward",
    reference_gradient,
    kernel="position_histograms_triton.backward",
    fake=lambda position: position.new_empty(position.shape),
)
register_gradient(_histograms, _backward, to=("mask",))


def position_histograms(position: Tensor, weight: Tensor, mask: Tensor, edges: Sequence[int]) -> Tensor:
    """Compute weighted histograms of position, of the vocals and of the accompaniment, in each band.

    A position between two points of the grid counts for both in linear proportion ("hats").

    Args:
        position: `(..., F, N)` in [0, 15], from `side_to_mid`.
        weight: of each bin, `(..., F, N)`.
        mask: share of the vocals in each bin, `(..., F, N)`.
        edges: first bin of each band, then F.

    Returns:
        `(..., 2, bands, 16)`: of weight * mask, and of weight * (1 - mask). Gradients flow to the mask alone.

    Example:
        >>> import torch
        >>> from torchprim.kernels.spatial.position_histograms import position_histograms
        >>> position, mask = torch.tensor([[1.0], [2.25]]), torch.tensor([[0.5], [1.0]])
        >>> position_histograms(position, torch.ones(2, 1), mask, [0, 2])[:, 0, :4].tolist()
        [[0.0, 0.5, 0.75, 0.25], [0.0, 0.5, 0.0, 0.0]]
    """
    return _histograms(position, weight.detach(), mask, list(edges))
