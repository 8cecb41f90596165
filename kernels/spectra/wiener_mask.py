"""Wiener-like mask of a part of a mixture from both spectra, in one operator."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.hpss.hpss_mask import power_ratio
from torchprim.kernels.register import load, register_operator, save
from torchprim.kernels.spectra.magnitude import as_complex, as_pairs


def _ratio(part: Tensor, mixture: Tensor) -> Tensor:
    """Compute |E|² / (|E|² + |X - E|²), 0 where X is, of complex spectra."""
    ratio = power_ratio(part.abs(), (mixture - part).abs(), 2.0)
    return torch.where(mixture.abs() > 0, ratio, 0)


def reference(part: Tensor, mixture: Tensor, gain: Tensor) -> Tensor:
    """Compute the mask as its equation is written."""
    return (_ratio(as_complex(part), as_complex(mixture)) * gain[:, None]).contiguous()


_mask = register_operator(
    "wiener_mask",
    reference,
    kernel="wiener_mask_triton.forward",
    fake=lambda part: part.new_empty(part.shape[:-1]),
)


def _gradients(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Compute the gradients; with R = X - E, L the larger of |E| and |R|, and s = (|E|² + |R|²) / L²:

    to E 2 g ((1 - mask) E + mask R) / (s L²), to X -2 g mask R / (s L²).
    """
    part, mixture, gain = load(ctx)
    part, mixture = as_complex(part), as_complex(mixture)
    to_part = to_mixture = to_gain = None
    ratio = _ratio(part, mixture)
    if ctx.needs_input_grad[2]:
        to_gain = (gradient * ratio).sum(-1).reshape(-1, gain.numel()).sum(0)
    if any(ctx.needs_input_grad[:2]):
        rest = mixture - part
        larger = torch.maximum(part.abs(), rest.abs())
        heard = (larger > 0) & (mixture.abs() > 0)
        larger = torch.where(heard, larger, 1)
        part, rest = part / larger, rest / larger
        squares = torch.where(heard, part.abs().square() + rest.abs().square(), 1)
        slope = torch.where(heard, 2 * gradient * gain[:, None], 0) / (squares * larger)
        to_mixture = as_pairs(-slope * ratio * rest)
        to_part = as_pairs(slope * (1 - ratio) * part) - to_mixture
    return to_part, to_mixture, to_gain


_mask.register_autograd(_gradients, setup_context=lambda ctx, inputs, output: save(ctx, inputs))


def wiener_mask(part: Tensor, mixture: Tensor, gain: Tensor) -> Tensor:
    """Compute g(f) · |E|² / (|E|² + |X - E|²), 0 where X is 0.

    Args:
        part: E `(..., F, N)`, complex, in any order in memory.
        mixture: X, of the shape of E.
        gain: g `(F,)`, of each bin, such as a high-pass.

    Returns:
        `(..., F, N)`, real and contiguous. Gradients flow to all three, 0 where X is 0.

    Raises:
        ValueError: for spectra that are not complex or differ in shape, or a gain of another shape.

    Example:
        >>> import torch
        >>> from torchprim.kernels.spectra.wiener_mask import wiener_mask
        >>> mixture = torch.ones(3, 1, dtype=torch.cfloat)
        >>> part = torch.tensor([[1.0], [0.5], [0.0]]) * mixture
        >>> wiener_mask(part, mixture, torch.ones(3)).flatten().tolist()
        [1.0, 0.5, 0.0]
    """
    if not (part.is_complex() and mixture.is_complex()) or part.shape != mixture.shape or part.dim() < 2:
        shapes = f"{tuple(part.shape)} {part.dtype}, {tuple(mixture.shape)} {mixture.dtype}"
        raise ValueError(f"part and mixture must be complex tensors (..., F, N) of one shape, got {shapes}")
    if gain.shape != part.shape[-2:-1]:
        raise ValueError(f"gain must have shape ({part.shape[-2]},), got {tuple(gain.shape)}")
    return _mask(as_pairs(part), as_pairs(mixture), gain)
