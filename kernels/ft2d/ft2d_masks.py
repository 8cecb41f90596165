"""Masks of repetition and micro-modulation from a spectrogram and its repeating background."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.mask_dtype import mask_dtype
from torchprim.kernels.register import register_gradient, register_operator


def _background(background: Tensor, highest: Tensor, norm: float, bins: int) -> tuple[Tensor, Tensor]:
    """Return the background of all bins scaled by norm / highest, and that factor `(..., 1, 1)`."""
    factor = norm / torch.where(highest > 0, highest, 1)[..., None, None]
    background = background * factor
    if background.shape[-2] < bins:
        background = torch.cat([background, background[..., -1:, :]], -2)
    return background, factor


def of_rows(d_background: Tensor, rows: int) -> Tensor:
    """Add the gradient of a bin that has no background of its own to that of the one below."""
    if rows == d_background.shape[-2]:
        return d_background
    d_background[..., rows - 1, :] += d_background[..., rows, :]
    return d_background[..., :rows, :].contiguous()


def _share(part: Tensor, magnitude: Tensor) -> Tensor:
    """Return min(part, A) / A, 0 where A is 0; in place in `part`."""
    return part.div_(magnitude).clamp_(max=1).masked_fill_(magnitude <= 0, 0)


def reference(
    magnitude: Tensor, background: Tensor, highest: Tensor, norm: float, gain: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute both masks as their equations are written, and the largest share of either cue."""
    b, _ = _background(background, highest, norm, magnitude.shape[-2])
    micro = _share((magnitude - b).abs_(), magnitude)
    repetition = _share(b.abs_(), magnitude)
    largest = torch.stack([x.amax((-2, -1)) for x in (repetition, micro)], -1)
    over = torch.where(largest > 0, largest, 1).reciprocal()[..., None, None]
    gain = gain[:, None]
    repetition.mul_(-over[..., 0, :, :]).add_(1).mul_(gain).masked_fill_(magnitude <= 0, 0)
    micro.mul_(over[..., 1, :, :]).mul_(gain)
    return repetition.to(dtype), micro.to(dtype), largest


def reference_gradients(
    d_repetition: Tensor,
    d_micro: Tensor,
    magnitude: Tensor,
    background: Tensor,
    highest: Tensor,
    largest: Tensor,
    norm: float,
    gain: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute gradients to magnitude, background and `highest`; the index of the largest share is fixed.

    A share that is clamped to 1 is a constant, and so is a largest share of 1.
    """
    b, factor = _background(background, highest, norm, magnitude.shape[-2])
    present = magnitude > 0
    a = torch.where(present, magnitude, 1)
    d_a, d_b = torch.zeros_like(a), torch.zeros_like(a)
    cues = (b, -d_repetition, (1.0, 0.0)), (magnitude - b, d_micro, (-1.0, 1.0))
    for cue, (signed, gradient, (to_b, to_a)) in enumerate(cues):
        raw = signed.abs() / a
        share = torch.where(present, raw.clamp(max=1), 0)
        most = largest[..., cue, None, None]
        over = torch.where(most > 0, most, 1).reciprocal()
        d_share = torch.where(present, gradient * gain[:, None], 0) * over
        d_largest = -(d_share * share).sum((-2, -1)) * over[..., 0, 0]
        where = share.flatten(-2).argmax(-1, keepdim=True)
        d_share = d_share.flatten(-2).scatter_add(-1, where, d_largest[..., None]).view_as(a)
        d_share = torch.where(present & (raw < 1), d_share, 0)
        slope = d_share * signed.sign() / a
        d_b += to_b * slope
        d_a += to_a * slope - d_share * share / a
    d_highest = -(d_b * b).sum((-2, -1)) / torch.where(highest > 0, highest, 1)
    return d_a, of_rows(d_b * factor, background.shape[-2]), torch.where(highest > 0, d_highest, 0)


def _empty_masks(magnitude: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    masks = [magnitude.new_empty(magnitude.shape, dtype=dtype) for _ in range(2)]
    return *masks, magnitude.new_empty(*magnitude.shape[:-2], 2)


def _empty_gradients(magnitude: Tensor, background: Tensor, highest: Tensor) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in (magnitude, background, highest))


_masks = register_operator("ft2d_masks", reference, kernel="ft2d_masks_triton.forward", fake=_empty_masks)
_masks_backward = register_operator(
    "ft2d_masks_backward", reference_gradients, kernel="ft2d_masks_triton.backward", fake=_empty_gradients
)
register_gradient(
    _masks,
    _masks_backward,
    to=("magnitude", "background", "highest"),
    outputs=("repetition", "micro", "largest"),
)


def ft2d_masks(
    magnitude: Tensor,
    background: Tensor,
    highest: Tensor,
    norm: float,
    gain: Tensor,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the vocals masks of repetition and micro-modulation, high-passed.

    With B = |background| norm / highest and G = |A - background norm / highest|: repetition is 1 - b with
    b = min(B, A) / A scaled to a maximum of 1 over each spectrogram; micro-modulation is min(G, A) / A
    scaled likewise (Seetharaman, Pishdadian and Pardo 2017). Where A is 0 both are 0.

    Args:
        magnitude: A, `(..., F, N)`, not negative.
        background: like `magnitude`, before it is scaled; or of one bin less: the last then has that of the
            one below.
        highest: `(...)`, divisor of the background, if above 0.
        norm: factor of the background.
        gain: `(F,)`, of the masks.
        dtype: in which masks are stored, float16 or float32; that of the arithmetic by default.

    Returns:
        Two masks `(..., F, N)`. Gradients flow to all four tensors. The index of the largest share is fixed,
        and a largest share that is clamped to 1 is a constant.

    Raises:
        ValueError: for shapes that do not fit, or float16 where a gradient is needed.

    Example:
        >>> import torch
        >>> from torchprim.kernels.ft2d.ft2d_masks import ft2d_masks
        >>> a, b = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[1.0, 1.0, 1.0]])
        >>> [x.tolist() for x in ft2d_masks(a, b, torch.ones(()), 1.0, torch.ones(1))]
        [[[0.0, 0.5, 0.75]], [[0.0, 0.6666666865348816, 1.0]]]
    """
    *items, bins, frames = magnitude.shape
    if background.shape not in ((*items, bins, frames), (*items, max(1, bins - 1), frames)):
        raise ValueError(
            f"background must have shape {tuple(magnitude.shape)} or one bin less, "
            f"got {tuple(background.shape)}"
        )
    if highest.shape != magnitude.shape[:-2]:
        raise ValueError(f"highest must have shape {tuple(magnitude.shape[:-2])}, got {tuple(highest.shape)}")
    if gain.shape != magnitude.shape[-2:-1]:
        raise ValueError(f"gain must have shape {tuple(magnitude.shape[-2:-1])}, got {tuple(gain.shape)}")
    dtype = mask_dtype(dtype, magnitude.dtype, magnitude, background, highest, gain)
    # The gain of a learnt cut-off is one multiplication more; that of a fixed one costs nothing.
    learnt = gain.requires_grad and torch.is_grad_enabled()
    fixed = torch.ones_like(gain) if learnt else gain
    tensors = (x.contiguous() for x in (magnitude, background, highest))
    repetition, micro, _ = _masks(*tensors, norm, fixed.contiguous(), dtype)
    return (repetition * gain[:, None], micro * gain[:, None]) if learnt else (repetition, micro)
