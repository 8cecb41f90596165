"""2-D transform of a real plane, and back: half of the rates, as real and imaginary parts."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.register import load, register_operator, save
from torchprim.kernels.spectra.magnitude import as_complex, as_pairs


def reference(x: Tensor) -> Tensor:
    """Transform as torch has it: `(..., F, N)` -> `(..., F, N // 2 + 1, 2)`."""
    return as_pairs(torch.fft.rfft2(x)).contiguous()


def reference_inverse(spectrum: Tensor, frames: int) -> Tensor:
    """Transform back as torch has it, without the factor 1 / (F N)."""
    return torch.fft.irfft2(as_complex(spectrum), s=(spectrum.shape[-3], frames), norm="forward").contiguous()


_forward = register_operator(
    "real_fft2",
    reference,
    kernel="real_fft2_triton.forward",
    fake=lambda x: x.new_empty(*x.shape[:-1], x.shape[-1] // 2 + 1, 2),
    fits=lambda x: x.shape[-1] % 2 == 0,
)
_inverse = register_operator(
    "real_ifft2",
    reference_inverse,
    kernel="real_fft2_triton.inverse",
    fake=lambda spectrum, frames: spectrum.new_empty(*spectrum.shape[:-2], frames),
    fits=lambda frames: frames % 2 == 0,
)


def _double(spectrum: Tensor, frames: int, factor: float) -> Tensor:
    """Multiply the rates that stand for two, all but 0 and N / 2, by a factor."""
    weight = torch.full(spectrum.shape[-2:-1], factor, dtype=spectrum.dtype, device=spectrum.device)
    weight[0].fill_(1)  # an assignment would copy the number to the device, and wait for it
    if frames % 2 == 0:
        weight[-1].fill_(1)
    return spectrum * weight[:, None]


def _forward_gradient(ctx, gradient: Tensor) -> Tensor:
    (frames,) = load(ctx)
    return _inverse(_double(gradient, frames, 0.5), frames)


def _inverse_gradient(ctx, gradient: Tensor) -> tuple[Tensor, None]:
    (frames,) = load(ctx)
    return _double(_forward(gradient), frames, 2.0), None


_forward.register_autograd(
    _forward_gradient, setup_context=lambda ctx, inputs, output: save(ctx, [inputs[0].shape[-1]])
)
_inverse.register_autograd(_inverse_gradient, setup_context=lambda ctx, inputs, output: save(ctx, inputs[1:]))


def real_fft2(x: Tensor) -> Tensor:
    """Compute the 2-D transform of a real plane, the rates 0 ... N // 2.

    On a GPU, rows of even length are read as half as many complex numbers: cuFFT's real transform of such a
    length makes a pass of its own before the complex one, and one after it.

    Args:
        x: `(..., F, N)`, real.

    Returns:
        `(..., F, N // 2 + 1)`, complex.

    Raises:
        ValueError: for a tensor that is not real, of half precision, or empty.

    Example:
        >>> import torch
        >>> from torchprim.kernels.ft2d.real_fft2 import real_fft2
        >>> real_fft2(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).real.tolist()
        [[10.0, -2.0], [-4.0, 0.0]]
    """
    fits = isinstance(x, Tensor) and x.dtype in (torch.float32, torch.float64) and x.dim() >= 2
    if not fits or 0 in x.shape[-2:]:
        raise ValueError(f"x must be a real tensor of shape (..., F, N), not of half precision, got {x!r}")
    return torch.view_as_complex(_forward(x))


def real_ifft2(spectrum: Tensor, frames: int) -> Tensor:
    """Compute the inverse of `real_fft2`, without its factor 1 / (F N).

    On a GPU by a complex transform of half the length, where N is even: PyTorch's real one copies its input
    first, and cuFFT packs it in a pass of its own.

    Args:
        spectrum: `(..., F, N // 2 + 1)`, complex, of a real plane: symmetric at the rates 0 and N / 2.
        frames: N.

    Returns:
        `(..., F, N)`, real.

    Raises:
        ValueError: for a spectrum that is not complex, or rates that do not belong to `frames`.

    Example:
        >>> import torch
        >>> from torchprim.kernels.ft2d.real_fft2 import real_fft2, real_ifft2
        >>> x = torch.rand(3, 8)
        >>> torch.allclose(real_ifft2(real_fft2(x), 8) / 24, x, atol=1e-6)
        True
    """
    if not isinstance(spectrum, Tensor) or not spectrum.is_complex() or spectrum.dim() < 2:
        raise ValueError(f"spectrum must be a complex tensor of shape (..., F, N // 2 + 1), got {spectrum!r}")
    if frames < 1 or spectrum.shape[-1] != frames // 2 + 1 or spectrum.shape[-2] == 0:
        raise ValueError(f"spectrum must have {frames} // 2 + 1 rates, got {tuple(spectrum.shape)}")
    return _inverse(as_pairs(spectrum), frames)
