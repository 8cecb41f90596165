"""Clustering of the primitives' masks with fixed centres: equation 1 of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from torchprim import checks
from torchprim.kernels.clustering.soft_assignment import assign, distances, root
from torchprim.kernels.tables import constant_table


def embed(masks: Sequence[Tensor]) -> Tensor:
    """Stack D masks `(..., F, N)` into the primitive embedding `(..., F, N, D)` (section 2 of the paper).

    Raises:
        ValueError: for no masks, or masks of different shapes.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.embed([torch.rand(2, 65, 40), torch.rand(2, 65, 40)]).shape
        torch.Size([2, 65, 40, 2])
    """
    return torch.stack(checked_masks(masks), dim=-1)


def checked_masks(masks: Sequence[Tensor] | Tensor) -> list[Tensor]:
    """D masks of one shape and type, from a sequence of them or from an embedding `(..., F, N, D)`."""
    if isinstance(masks, Tensor):
        masks = checks.real(masks, "masks", 3, "(..., F, N, D)").unbind(-1)
    if len(masks) == 0:
        raise ValueError("masks must hold at least one mask, got none")
    masks = [checks.real(mask, f"masks[{i}]", 2, "(..., F, N)") for i, mask in enumerate(masks)]
    for i, mask in enumerate(masks):
        if mask.shape != masks[0].shape:
            raise ValueError(f"masks[{i}] has shape {tuple(mask.shape)}, masks[0] {tuple(masks[0].shape)}")
    kind = reduce(torch.promote_types, (mask.dtype for mask in masks))
    return [mask.to(kind) for mask in masks]


def checked_weights(weights: Sequence[float] | Tensor | None, dimensions: int, like: Tensor) -> Tensor:
    """Weights `(D,)`, not negative and not all zero; None is 1 each."""
    if weights is None:
        return torch.ones(dimensions, dtype=like.dtype, device=like.device)
    if isinstance(weights, Tensor):
        weights = weights.to(like.device, like.dtype, non_blocking=True)
    else:
        # A graph of the device's work can be captured once the numbers are there.
        weights = _numbers(tuple(map(float, weights)), like.dtype, like.device)[0]
    if weights.shape != (dimensions,):
        raise ValueError(f"weights must hold {dimensions} numbers, one a mask, got {weights.tolist()}")
    if weights.device.type == "cpu" and not torch.compiler.is_compiling():
        ok = bool(torch.isfinite(weights).all() and (weights >= 0).all() and (weights > 0).any())
        if not ok:
            raise ValueError(f"weights must not be negative and not all 0, got {weights.tolist()}")
    return weights


@constant_table
def _numbers(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    return [torch.tensor(values, dtype=dtype).to(device)]


def centre_distances(
    masks: Sequence[Tensor], weights: Tensor, centres: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Weighted Euclidean distances of every bin to the two centres, without stacking the masks.

    The centres are 0 and 1, or those given: `(..., 2, D)`, the first of accompaniment.
    """
    if centres is None:
        return distances(masks, weights)

    def distance(centre: Tensor) -> Tensor:
        places = (place.reshape(place.shape + (1,) * (masks[0].dim() - place.dim())) for place in centre)
        return root(
            sum(w * (mask - place).square() for w, mask, place in zip(weights, masks, places, strict=True))
        )

    return distance(centres[..., 0, :].unbind(-1)), distance(centres[..., 1, :].unbind(-1))


def soft_assignment(
    masks: Sequence[Tensor] | Tensor,
    weights: Sequence[float] | Tensor | None = None,
    beta: float | Tensor = 5.0,
) -> Tensor:
    """One vocals mask of D masks: soft k-means with centres fixed at 0 and 1 (equation 1 of the paper).

    mask = exp(-β d1) / (exp(-β d0) + exp(-β d1)) = sigmoid(β (d0 - d1)), with
    d0 = sqrt(Σ w_i x_i²) and d1 = sqrt(Σ w_i (1 - x_i)²).

    Args:
        masks: D masks `(..., F, N)`, as a sequence or as an embedding `(..., F, N, D)`.
        weights: `(D,)`, not negative; 1 each by default. A tensor receives a gradient.
        beta: hardness of the decision, positive. A tensor receives a gradient.

    Returns:
        `(..., F, N)` in [0, 1].

    Raises:
        ValueError: for masks of different shapes, weights of the wrong length, or beta <= 0 or of more than
            one number.

    Example:
        >>> import torch, torchprim as tp
        >>> agree, differ = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 0.0]])
        >>> [round(x, 3) for x in tp.soft_assignment([agree, differ], beta=5.0)[0].tolist()]
        [0.001, 0.5]
    """
    masks = checked_masks(masks)
    checks.positive(beta, "beta")
    return assign(masks, checked_weights(weights, len(masks), masks[0]), beta)
