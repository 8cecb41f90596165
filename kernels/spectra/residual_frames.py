"""Inverse transform of the frames of what a mask leaves of a spectrum, in one operator."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.register import load, register_operator, save
from torchprim.kernels.spectra.magnitude import as_complex, as_pairs


def reference(mask: Tensor, spectrum: Tensor, length: int) -> Tensor:
    """Compute the inverse transform of real frames as torch has it."""
    residual = (1 - mask) * as_complex(spectrum)
    return torch.fft.irfft(residual.mT, n=length, norm="forward").contiguous()


_frames = register_operator(
    "residual_frames",
    reference,
    kernel="residual_frames_triton.forward",
    fake=lambda mask, length: mask.new_empty(*mask.shape[:-2], mask.shape[-1], length),
    fits=lambda length: length % 2 == 0,
)


def _setup_context(ctx, inputs, output) -> None:
    save(ctx, inputs[:2])


def _gradients(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Transform the gradient forward: the transpose, where bins but the first and last count twice."""
    mask, spectrum = load(ctx)
    to_residual = torch.fft.rfft(gradient)
    weight = torch.full(mask.shape[-2:-1], 2, dtype=mask.dtype, device=mask.device)
    weight[0] = 1
    if gradient.shape[-1] % 2 == 0:
        weight[-1] = 1
    to_residual = as_pairs((weight * to_residual).mT)
    to_mask = -(spectrum * to_residual).sum(-1) if ctx.needs_input_grad[0] else None
    return to_mask, (1 - mask)[..., None] * to_residual if ctx.needs_input_grad[1] else None, None


_frames.register_autograd(_gradients, setup_context=_setup_context)


def residual_frames(mask: Tensor, spectrum: Tensor, length: int) -> Tensor:
    """Compute the inverse FFT of (1 - mask) X for each frame, without its factor 1 / W.

    On a GPU the masked spectrum is packed for a complex transform of half the length: PyTorch's real one
    copies its input first, and cuFFT packs it in a pass of its own.

    Args:
        mask: `(B, F, N)`, real.
        spectrum: X `(B, F, N)`, complex, in any order in memory.
        length: W, of the transform; F = W // 2 + 1.

    Returns:
        `(B, N, W)`, for `overlap_add`. Gradients flow to mask and spectrum.

    Raises:
        ValueError: for a spectrum that is not complex, a mask of another shape, or a length that does not
            have F bins.

    Example:
        >>> import torch
        >>> from torchprim.kernels.spectra.residual_frames import residual_frames
        >>> spectrum = torch.ones(1, 3, 1, dtype=torch.cfloat)
        >>> residual_frames(torch.full((1, 3, 1), 0.5), spectrum, 4)
        tensor([[[2., 0., 0., 0.]]])
    """
    if not spectrum.is_complex() or spectrum.dim() != 3 or mask.shape != spectrum.shape:
        shapes = f"{tuple(spectrum.shape)} {spectrum.dtype}, {tuple(mask.shape)}"
        raise ValueError(f"spectrum must be complex (B, F, N), mask of its shape, got {shapes}")
    if length // 2 + 1 != mask.shape[1]:
        raise ValueError(f"length must have {mask.shape[1]} bins, got {length}")
    return _frames(mask, as_pairs(spectrum), length)
