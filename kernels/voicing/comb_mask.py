"""The mask of a melody: in each frame the comb of its pitch, from a table."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.mask_dtype import mask_dtype
from torchprim.kernels.register import register_gradient, register_operator
from torchprim.kernels.voicing.columns import add_columns, gather_columns


def reference(magnitude: Tensor, combs: Tensor, path: Tensor, height: Tensor, dtype: torch.dtype) -> Tensor:
    """Gather and scale the combs."""
    mask = gather_columns(combs, path) * height[..., None, :]
    return torch.where(magnitude > 0, mask, 0).to(dtype).contiguous()


def reference_gradients(
    gradient: Tensor, magnitude: Tensor, combs: Tensor, path: Tensor, height: Tensor, to_combs: bool
) -> tuple[Tensor, Tensor]:
    """Compute gradients to the table and to the heights."""
    gradient = torch.where(magnitude > 0, gradient, 0)
    d_height = (gradient * gather_columns(combs, path)).sum(-2)
    return combs_gradient(gradient, combs, path, height) if to_combs else combs.new_empty(0), d_height


def combs_gradient(gradient: Tensor, combs: Tensor, path: Tensor, height: Tensor) -> Tensor:
    """Compute the gradient to the table; only a width or a cut-off that is learnt needs it."""
    return add_columns(gradient * height[..., None, :], path, combs.shape[1])


_mask = register_operator(
    "comb_mask",
    reference,
    kernel="comb_mask_triton.forward",
    fake=lambda magnitude, dtype: magnitude.new_empty(magnitude.shape, dtype=dtype),
)
_mask_backward = register_operator(
    "comb_mask_backward",
    reference_gradients,
    kernel="comb_mask_triton.backward",
    fake=lambda combs, height, to_combs: (
        combs.new_empty(combs.shape if to_combs else 0),
        height.new_empty(height.shape),
    ),
)
register_gradient(_mask, _mask_backward, to=("combs", "height"))


def comb_mask(
    magnitude: Tensor, combs: Tensor, path: Tensor, height: Tensor, dtype: torch.dtype | None = None
) -> Tensor:
    """Compute a mask from the comb of each frame's pitch: height · comb, 0 where the magnitude is 0.

    Args:
        magnitude: `(..., F, N)`.
        combs: `(F, P)`, a comb a column.
        path: `(..., N)`, integers below P: the column of each frame.
        height: `(..., N)`, factor of each frame.
        dtype: in which the mask is stored, float16 or float32; that of the arithmetic by default.

    Returns:
        `(..., F, N)`. Gradients flow to combs and height.

    Raises:
        ValueError: for shapes that do not fit, or float16 where a gradient is needed.

    Example:
        >>> import torch
        >>> from torchprim.kernels.voicing.comb_mask import comb_mask
        >>> combs = torch.tensor([[1.0, 0.0], [0.5, 0.2]])
        >>> magnitude = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
        >>> comb_mask(magnitude, combs, torch.tensor([0, 1, 0]), torch.tensor([1.0, 0.5, 1.0]))
        tensor([[1.0000, 0.0000, 0.0000],
                [0.5000, 0.1000, 0.5000]])
    """
    *batch, bins, frames = magnitude.shape
    shape = (*batch, frames)
    if combs.shape[:1] != (bins,) or combs.dim() != 2 or path.shape != shape or height.shape != shape:
        sizes = [tuple(x.shape) for x in (combs, path, height)]
        raise ValueError(f"combs, path, height do not fit {tuple(magnitude.shape)}, got {sizes}")
    return _mask(magnitude, combs, path, height, mask_dtype(dtype, combs.dtype, combs, height))
