"""Wiener-like masks of a part of a mixture from both spectra, in one operator."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.hpss.hpss_mask import power_ratio
from torchprim.kernels.mask_dtype import mask_dtype
from torchprim.kernels.register import load, register_operator, save
from torchprim.kernels.spectra.magnitude import as_complex, as_pairs


def _ratio(part: Tensor, mixture: Tensor) -> Tensor:
    """Compute |E|² / (|E|² + |X - E|²), 0 where X is, of complex spectra."""
    ratio = power_ratio(part.abs(), (mixture - part).abs(), 2.0)
    return torch.where(mixture.abs() > 0, ratio, 0)


def _aligned(gains: Tensor, dimensions: int) -> Tensor:
    """View gains `(K, F)` as `(K, 1, ..., 1, F, 1)`, to multiply masks of so many dimensions."""
    return gains.reshape(len(gains), *[1] * (dimensions - 2), -1, 1)


def reference(part: Tensor, mixture: Tensor, gains: Tensor, dtype: torch.dtype) -> Tensor:
    """Compute the masks as their equation is written."""
    ratio = _ratio(as_complex(part), as_complex(mixture))
    return (ratio * _aligned(gains, ratio.dim())).to(dtype).contiguous()


_masks = register_operator(
    "wiener_masks",
    reference,
    kernel="wiener_masks_triton.forward",
    fake=lambda part, gains, dtype: part.new_empty((len(gains), *part.shape[:-1]), dtype=dtype),
)


def _gradients(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Compute the gradients; with R = X - E, L the larger of |E| and |R|, and s = (|E|² + |R|²) / L²:

    to E 2 g ((1 - mask) E + mask R) / (s L²), to X -2 g mask R / (s L²).
    """
    part, mixture, gains, _ = load(ctx)
    part, mixture = as_complex(part), as_complex(mixture)
    to_part = to_mixture = to_gains = None
    ratio = _ratio(part, mixture)
    if ctx.needs_input_grad[2]:
        bins = gradient.dim() - 2
        others = [axis for axis in range(1, gradient.dim()) if axis != bins]
        to_gains = (gradient * ratio).sum(others)
    if any(ctx.needs_input_grad[:2]):
        rest = mixture - part
        larger = torch.maximum(part.abs(), rest.abs())
        heard = (larger > 0) & (mixture.abs() > 0)
        larger = torch.where(heard, larger, 1)
        part, rest = part / larger, rest / larger
        squares = torch.where(heard, part.abs().square() + rest.abs().square(), 1)
        gradient = (gradient * _aligned(gains, ratio.dim())).sum(0)
        slope = torch.where(heard, 2 * gradient, 0) / (squares * larger)
        to_mixture = as_pairs(-slope * ratio * rest)
        to_part = as_pairs(slope * (1 - ratio) * part) - to_mixture
    return to_part, to_mixture, to_gains, None


_masks.register_autograd(_gradients, setup_context=lambda ctx, inputs, output: save(ctx, inputs))


def wiener_masks(part: Tensor, mixture: Tensor, gains: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Compute g(f) · |E|² / (|E|² + |X - E|²), 0 where X is 0, for one or more gains g.

    Args:
        part: E `(..., F, N)`, complex, in any order in memory.
        mixture: X, of the shape of E.
        gains: `(K, F)`, of each bin, such as a high-pass.
        dtype: in which masks are stored, float16 or float32; that of the arithmetic by default.

    Returns:
        `(K, ..., F, N)`, real and contiguous. Gradients flow to all three, 0 where X is 0.

    Raises:
        ValueError: for spectra that are not complex or differ in shape, gains of another
            shape, or float16 where a gradient is needed.

    Example:
        >>> import torch
        >>> from torchprim.kernels.spectra.wiener_masks import wiener_masks
        >>> mixture = torch.ones(3, 1, dtype=torch.cfloat)
        >>> part = torch.tensor([[1.0], [0.5], [0.0]]) * mixture
        >>> wiener_masks(part, mixture, torch.ones(1, 3)).flatten().tolist()
        [1.0, 0.5, 0.0]
    """
    if not (part.is_complex() and mixture.is_complex()) or part.shape != mixture.shape or part.dim() < 2:
        shapes = f"{tuple(part.shape)} {part.dtype}, {tuple(mixture.shape)} {mixture.dtype}"
        raise ValueError(f"part and mixture must be complex tensors (..., F, N) of one shape, got {shapes}")
    if gains.dim() != 2 or gains.shape[1] != part.shape[-2]:
        raise ValueError(f"gains must have shape (K, {part.shape[-2]}), got {tuple(gains.shape)}")
    dtype = mask_dtype(dtype, part.real.dtype, part, mixture, gains)
    return _masks(as_pairs(part), as_pairs(mixture), gains, dtype)
