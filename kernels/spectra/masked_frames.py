"""Inverse transform of the frames of a masked spectrum, in one operator."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.register import load, register_operator, save
from torchprim.kernels.spectra.magnitude import as_complex, as_pairs


def reference(mask: Tensor, spectrum: Tensor, length: int, residual: bool) -> Tensor:
    """Compute the inverse transform of real frames as torch has it."""
    gain = 1 - mask if residual else mask
    masked = as_complex(spectrum) * gain[:, None]  # in the spectrum's order: the transform copies no other
    return torch.fft.irfft(masked.mT, n=length, norm="forward").contiguous()


_frames = register_operator(
    "masked_frames",
    reference,
    kernel="masked_frames_triton.forward",
    fake=lambda spectrum, length: spectrum.new_empty(*spectrum.shape[:2], spectrum.shape[3], length),
    fits=lambda length: length % 2 == 0,
)


def _gradients(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Transform the gradient forward: the transpose, where bins but the first and last count twice."""
    mask, spectrum, length, residual = load(ctx)
    weight = torch.full(mask.shape[-2:-1], 2, dtype=mask.dtype, device=mask.device)
    weight[0].fill_(1)  # an assignment would copy the number to the device, and wait for it
    if length % 2 == 0:
        weight[-1].fill_(1)
    to_masked = as_pairs((weight * torch.fft.rfft(gradient)).mT)
    to_mask = to_spectrum = None
    if ctx.needs_input_grad[0]:
        to_mask = (spectrum * to_masked).sum((1, -1))
        to_mask = -to_mask if residual else to_mask
    if ctx.needs_input_grad[1]:
        to_spectrum = (1 - mask if residual else mask)[:, None, ..., None] * to_masked
    return to_mask, to_spectrum, None, None


_frames.register_autograd(_gradients, setup_context=lambda ctx, inputs, output: save(ctx, inputs))


def masked_frames(mask: Tensor, spectrum: Tensor, length: int, residual: bool = False) -> Tensor:
    """Compute the inverse FFT of each frame of a masked spectrum, without its factor 1 / W.

    On a GPU the masked spectrum is packed for a complex transform of half the length: PyTorch's real one
    copies its input first, and cuFFT packs it in a pass of its own.

    Args:
        mask: M `(B, F, N)`, real.
        spectrum: X `(B, C, F, N)`, complex, in any order in memory: all C channels have the same mask.
        length: W, of the transform; F = W // 2 + 1.
        residual: whether to transform what the mask leaves, (1 - M) X, instead of M X.

    Returns:
        `(B, C, N, W)`, for `overlap_add`. Gradients flow to mask and spectrum.

    Raises:
        ValueError: for a spectrum that is not complex, a mask of another shape, or a length that does not
            have F bins.

    Example:
        >>> import torch
        >>> from torchprim.kernels.spectra.masked_frames import masked_frames
        >>> spectrum = torch.ones(1, 1, 3, 1, dtype=torch.cfloat)
        >>> masked_frames(torch.full((1, 3, 1), 0.25), spectrum, 4, residual=True)
        tensor([[[[3., 0., 0., 0.]]]])
    """
    fits = spectrum.is_complex() and spectrum.dim() == 4
    if not fits or mask.shape != spectrum.shape[:1] + spectrum.shape[2:]:
        shapes = f"{tuple(spectrum.shape)} {spectrum.dtype}, {tuple(mask.shape)}"
        raise ValueError(f"spectrum must be complex (B, C, F, N), mask (B, F, N), got {shapes}")
    if length // 2 + 1 != mask.shape[1]:
        raise ValueError(f"length must have {mask.shape[1]} bins, got {length}")
    return _frames(mask, as_pairs(spectrum), length, residual)
