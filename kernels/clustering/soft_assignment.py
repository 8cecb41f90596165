"""Soft k-means of D masks with centres fixed at 0 and 1: equation 1 of the paper."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchprim.kernels.register import load, register_operator, save
from torchprim.kernels.tables import is_exporting


def root(squared_distance: Tensor) -> Tensor:
    """Return the square root, with a derivative of 0 at 0: that of a Euclidean distance by convention."""
    zero = squared_distance <= 0
    return squared_distance.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def distances(masks: Sequence[Tensor], weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return weighted Euclidean distances to the centres 0 and 1, without stacking the masks."""
    to_zero = sum(w * mask.square() for w, mask in zip(weights, masks, strict=True))
    to_one = sum(w * (1 - mask).square() for w, mask in zip(weights, masks, strict=True))
    return root(to_zero), root(to_one)


def reference(masks: Sequence[Tensor], weights: Tensor, beta: Tensor, magnitude: Tensor | None) -> Tensor:
    """Compute equation 1 as it is written, then the zeros."""
    masks = [mask.to(weights.dtype) for mask in masks]
    to_zero, to_one = distances(masks, weights)
    mask = torch.sigmoid(beta * (to_zero - to_one))
    return (mask if magnitude is None else torch.where(magnitude != 0, mask, 0)).contiguous()


def reference_gradients(
    gradient: Tensor,
    masks: Sequence[Tensor],
    weights: Tensor,
    beta: Tensor,
    magnitude: Tensor | None,
    of_masks: bool,
) -> list[Tensor]:
    """Compute gradients of weights and beta; then, where asked for, of each mask."""
    dtypes, masks = [mask.dtype for mask in masks], [mask.to(weights.dtype) for mask in masks]
    to_zero, to_one = distances(masks, weights)
    difference = to_zero - to_one
    mask = torch.sigmoid(beta * difference)
    slope = gradient * mask * (1 - mask)
    if magnitude is not None:
        slope = torch.where(magnitude != 0, slope, 0)
    # 1 / d, where the derivative of a distance of 0 is 0
    by_zero, by_one = (beta * torch.where(d > 0, 1 / d, 0) for d in (to_zero, to_one))
    d_weights = [
        (slope * (mask.square() * by_zero - (1 - mask).square() * by_one)).sum() / 2 for mask in masks
    ]
    d_masks = []
    if of_masks:
        d_masks = [slope * w * (x * by_zero + (1 - x) * by_one) for w, x in zip(weights, masks, strict=True)]
        d_masks = [d.to(dtype).contiguous() for d, dtype in zip(d_masks, dtypes, strict=True)]
    return [torch.stack(d_weights), (slope * difference).sum(), *d_masks]


def _empty_gradients(masks, weights, beta, of_masks) -> list[Tensor]:
    d_masks = [mask.new_empty(mask.shape) for mask in masks] if of_masks else []
    return [weights.new_empty(weights.shape), beta.new_empty(()), *d_masks]


_assign = register_operator(
    "soft_assignment",
    reference,
    kernel="soft_assignment_triton.forward",
    fake=lambda masks, weights: weights.new_empty(masks[0].shape),
)
_backward = register_operator(
    "soft_assignment_backward",
    reference_gradients,
    kernel="soft_assignment_triton.backward",
    fake=_empty_gradients,
)


def _gradients(ctx, gradient):
    masks, weights, beta, magnitude = load(ctx)
    of_masks = any(ctx.needs_input_grad[0])
    d_weights, d_beta, *d_masks = _backward(gradient, masks, weights, beta, magnitude, of_masks)
    return d_masks if of_masks else [None] * len(masks), d_weights, d_beta, None


_assign.register_autograd(_gradients, setup_context=lambda ctx, inputs, output: save(ctx, inputs))


def _number(beta: float | Tensor, like: Tensor) -> Tensor:
    """Return the hardness as a tensor of one number, on the device and in the dtype of `like`."""
    if not isinstance(beta, Tensor):
        return torch.full((), beta, dtype=like.dtype, device=like.device)
    if beta.numel() != 1:
        raise ValueError(f"beta must be one number, got a tensor of shape {tuple(beta.shape)}")
    return beta.to(like.device, like.dtype, non_blocking=True).reshape(())


def assign(
    masks: Sequence[Tensor], weights: Tensor, beta: float | Tensor, magnitude: Tensor | None = None
) -> Tensor:
    """Compute the mask sigmoid(β (d0 - d1)) of D masks (equation 1 of the paper).

    d0 = sqrt(Σ w_i x_i²) and d1 = sqrt(Σ w_i (1 - x_i)²). Where a mixture is silent all masks are 0, of which
    that makes a small positive number: with its magnitude the mask is 0 there.

    Args:
        masks: D tensors `(..., F, N)` of one shape, each loaded in its dtype; on a GPU contiguous ones are
            not copied.
        weights: `(D,)`, in the dtype of the arithmetic and the result.
        beta: hardness of the decision; a tensor of one number receives a gradient.
        magnitude: of the mixture, `(..., F, N)`; it receives no gradient.

    Returns:
        `(..., F, N)` in [0, 1], contiguous. Gradients flow to masks, weights and beta; that of a distance of
        0 is 0.

    Raises:
        ValueError: for a beta of more than one number, or a magnitude of another shape.

    Example:
        >>> import torch
        >>> from torchprim.kernels.clustering.soft_assignment import assign
        >>> one, two = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 0.0]])
        >>> [round(x, 3) for x in assign([one, two], torch.ones(2), 5.0)[0].tolist()]
        [0.001, 0.5]
        >>> assign([one, two], torch.ones(2), 5.0, magnitude=torch.tensor([[0.0, 2.0]]))[0].tolist()
        [0.0, 0.5]
    """
    if magnitude is not None and magnitude.shape != masks[0].shape:
        shape = tuple(masks[0].shape)
        raise ValueError(f"magnitude must have shape {shape}, got {tuple(magnitude.shape)}")
    if is_exporting():
        return reference(masks, weights, _number(beta, weights), magnitude)
    return _assign(list(masks), weights, _number(beta, weights), magnitude)
