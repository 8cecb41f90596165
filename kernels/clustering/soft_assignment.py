"""Soft k-means of D masks with centres fixed at 0 and 1, and the spectrum times its mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchprim.kernels.register import load, register_operator, save


def root(squared_distance: Tensor) -> Tensor:
    """Return the square root, with a derivative of 0 at 0: that of a Euclidean distance by convention."""
    zero = squared_distance <= 0
    return squared_distance.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def distances(masks: Sequence[Tensor], weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return weighted Euclidean distances to the centres 0 and 1, without stacking the masks."""
    to_zero = sum(w * mask.square() for w, mask in zip(weights, masks, strict=True))
    to_one = sum(w * (1 - mask).square() for w, mask in zip(weights, masks, strict=True))
    return root(to_zero), root(to_one)


def bins_innermost(spectrum: Tensor) -> bool:
    """Return whether a spectrum `(..., F, N, 2)` lies in memory as `(..., N, F, 2)`, as `stft` makes it."""
    return not spectrum.is_contiguous() and spectrum.transpose(-2, -3).is_contiguous()


def empty_spectrum(spectrum: Tensor) -> Tensor:
    """Allocate a spectrum with bins innermost where the given one has them so, else contiguous."""
    if bins_innermost(spectrum):
        return torch.empty_like(spectrum.transpose(-2, -3)).transpose(-2, -3)
    return spectrum.new_empty(spectrum.shape)


def _sounding(spectrum: Tensor) -> Tensor:
    """Return where a spectrum `(..., 2)`, real and imaginary part, is not 0."""
    return (spectrum[..., 0] != 0) | (spectrum[..., 1] != 0)


def reference(masks: Sequence[Tensor], weights: Tensor, beta: Tensor) -> Tensor:
    """Compute equation 1 as it is written."""
    to_zero, to_one = distances(masks, weights)
    return torch.sigmoid(beta * (to_zero - to_one)).contiguous()


def reference_applied(
    masks: Sequence[Tensor], weights: Tensor, beta: Tensor, spectrum: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute equation 1, 0 where the spectrum `(..., 2)` is; and the spectrum times that mask."""
    mask = torch.where(_sounding(spectrum), reference(masks, weights, beta), 0)  # in the spectrum's order
    vocals = torch.mul(spectrum, mask[..., None], out=empty_spectrum(spectrum))
    return mask.contiguous(), vocals


def reference_gradients(
    to_mask: Tensor | None,
    to_vocals: Tensor | None,
    masks: Sequence[Tensor],
    weights: Tensor,
    beta: Tensor,
    spectrum: Tensor | None,
    of_masks: bool,
    of_spectrum: bool,
) -> list[Tensor]:
    """Compute gradients of weights and beta; then, where asked for, of each mask and of the spectrum."""
    to_zero, to_one = distances(masks, weights)
    difference = to_zero - to_one
    mask = torch.sigmoid(beta * difference)
    slope = torch.zeros_like(mask) if to_mask is None else to_mask
    if to_vocals is not None:
        slope = slope + (spectrum * to_vocals).sum(-1)
    slope = slope * mask * (1 - mask)
    if spectrum is not None:
        slope = torch.where(_sounding(spectrum), slope, 0)
    # 1 / d, where the derivative of a distance of 0 is 0
    by_zero, by_one = (beta * torch.where(d > 0, 1 / d, 0) for d in (to_zero, to_one))
    d_weights = [
        (slope * (mask.square() * by_zero - (1 - mask).square() * by_one)).sum() / 2 for mask in masks
    ]
    d_masks, d_spectrum = [], []
    if of_masks:
        pairs = zip(weights, masks, strict=True)
        d_masks = [(slope * w * (x * by_zero + (1 - x) * by_one)).contiguous() for w, x in pairs]
    if of_spectrum and spectrum is not None:
        gate = torch.where(_sounding(spectrum), mask, 0)[..., None]
        result = empty_spectrum(spectrum)
        d_spectrum = [result.zero_() if to_vocals is None else torch.mul(to_vocals, gate, out=result)]
    return [torch.stack(d_weights), (slope * difference).sum(), *d_masks, *d_spectrum]


def _empty_gradients(masks, weights, beta, spectrum, of_masks, of_spectrum) -> list[Tensor]:
    results = [weights.new_empty(weights.shape), beta.new_empty(())]
    if of_masks:
        results += [masks[0].new_empty(masks[0].shape) for _ in masks]
    if of_spectrum and spectrum is not None:
        results.append(empty_spectrum(spectrum))
    return results


_assign = register_operator(
    "soft_assignment",
    reference,
    kernel="soft_assignment_triton.forward",
    fake=lambda masks: masks[0].new_empty(masks[0].shape),
)
_apply = register_operator(
    "assign_and_apply",
    reference_applied,
    kernel="soft_assignment_triton.forward_applied",
    fake=lambda masks, spectrum: (masks[0].new_empty(masks[0].shape), empty_spectrum(spectrum)),
)
_backward = register_operator(
    "soft_assignment_backward",
    reference_gradients,
    kernel="soft_assignment_triton.backward",
    fake=_empty_gradients,
)


def _setup_context(ctx, inputs, output):
    save(ctx, inputs)
    ctx.set_materialize_grads(False)


def _gradients(ctx, to_mask, to_vocals=None):
    """Compute the gradients of either operator; an output that is not used has none."""
    masks, weights, beta, *spectrum = load(ctx)
    d_masks, d_weights, d_beta, d_spectrum = [None] * len(masks), None, None, None
    if to_mask is not None or to_vocals is not None:
        of_masks, of_spectrum = any(ctx.needs_input_grad[0]), bool(spectrum) and ctx.needs_input_grad[3]
        inputs = (masks, weights, beta, spectrum[0] if spectrum else None)
        d_weights, d_beta, *rest = _backward(to_mask, to_vocals, *inputs, of_masks, of_spectrum)
        d_masks = rest[: len(masks)] if of_masks else d_masks
        d_spectrum = rest[-1] if of_spectrum else None
    return d_masks, d_weights, d_beta, *(d_spectrum for _ in spectrum)


_assign.register_autograd(_gradients, setup_context=_setup_context)
_apply.register_autograd(_gradients, setup_context=_setup_context)


def _number(beta: float | Tensor, like: Tensor) -> Tensor:
    """Return the hardness as a tensor of one number, on the device and in the dtype of the masks."""
    if not isinstance(beta, Tensor):
        return torch.full((), beta, dtype=like.dtype, device=like.device)
    if beta.numel() != 1:
        raise ValueError(f"beta must be one number, got a tensor of shape {tuple(beta.shape)}")
    return beta.to(like.device, like.dtype, non_blocking=True).reshape(())


def assign(masks: Sequence[Tensor], weights: Tensor, beta: float | Tensor) -> Tensor:
    """Compute the mask sigmoid(β (d0 - d1)) of D masks (equation 1 of the paper).

    d0 = sqrt(Σ w_i x_i²) and d1 = sqrt(Σ w_i (1 - x_i)²).

    Args:
        masks: D tensors `(..., F, N)` of one shape and dtype; on a GPU contiguous ones are not copied.
        weights: `(D,)`, of the masks' dtype.
        beta: hardness of the decision; a tensor of one number receives a gradient.

    Returns:
        `(..., F, N)` in [0, 1]. Gradients flow to masks, weights and beta; that of a distance of 0 is 0.

    Raises:
        ValueError: for a beta of more than one number.

    Example:
        >>> import torch
        >>> from torchprim.kernels.clustering.soft_assignment import assign
        >>> one, two = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 0.0]])
        >>> [round(x, 3) for x in assign([one, two], torch.ones(2), 5.0)[0].tolist()]
        [0.001, 0.5]
    """
    return _assign(list(masks), weights, _number(beta, masks[0]))


def assign_and_apply(
    masks: Sequence[Tensor], weights: Tensor, beta: float | Tensor, spectrum: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute `assign`, and the mixture's spectrum times that mask, from one read of everything.

    The accompaniment is the mixture minus the vocals, in the time domain.

    Args:
        masks: as for `assign`.
        weights: `(D,)`, of the masks' dtype.
        beta: hardness of the decision; a tensor of one number receives a gradient.
        spectrum: of the mixture, `(..., F, N)`, complex; on a GPU copied unless it is contiguous or has bins
            innermost, as `stft` makes it.

    Returns:
        The mask `(..., F, N)`, contiguous, 0 where the mixture is; and the vocals' spectrum, complex, in
        the order of the mixture's. Gradients flow to masks, weights, beta and the spectrum.

    Raises:
        ValueError: for a beta of more than one number, or a spectrum that does not fit the masks.

    Example:
        >>> import torch
        >>> from torchprim.kernels.clustering.soft_assignment import assign_and_apply
        >>> masks, spectrum = [torch.ones(1, 2)], torch.tensor([[2j, 0]])
        >>> mask, vocals = assign_and_apply(masks, torch.ones(1), 5.0, spectrum)
        >>> mask.round(decimals=3).tolist(), vocals.imag.round(decimals=3).tolist()
        ([[0.9929999709129333, 0.0]], [[1.9869999885559082, 0.0]])
    """
    if not spectrum.is_complex() or spectrum.shape != masks[0].shape:
        raise ValueError(
            f"spectrum must be complex and have shape {tuple(masks[0].shape)}, "
            f"got {spectrum.dtype} {tuple(spectrum.shape)}"
        )
    parts = torch.view_as_real(spectrum.resolve_conj())
    mask, vocals = _apply(list(masks), weights, _number(beta, masks[0]), parts)
    return mask, torch.view_as_complex(vocals)
