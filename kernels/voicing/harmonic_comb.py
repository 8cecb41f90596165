"""A soft harmonic comb from a pitch track."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.dispatch import takes_kernel


def _teeth(f0: Tensor, bins: int, bin_width: float, n_harmonics: int) -> tuple[Tensor, Tensor]:
    """Number of the nearest harmonic and the distance to it in Hz, `(..., F, N)`."""
    frequency = torch.arange(bins, dtype=f0.dtype, device=f0.device)[:, None] * bin_width
    f0 = f0[..., None, :]
    nearest = torch.floor(frequency / f0 + 0.5).clamp(1, n_harmonics)
    return nearest, frequency - nearest * f0


def reference(
    f0: Tensor, height: Tensor, width: Tensor, bins: int, bin_width: float, n_harmonics: int
) -> Tensor:
    """The comb as its equation is written."""
    _, distance = _teeth(f0, bins, bin_width, n_harmonics)
    return height[..., None, :] * torch.exp(-0.5 * (distance / width).square())


def reference_gradients(
    gradient: Tensor,
    f0: Tensor,
    height: Tensor,
    width: Tensor,
    bin_width: float,
    n_harmonics: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to f0, height and, for each frame, width; which harmonic is the nearest is fixed."""
    nearest, distance = _teeth(f0, gradient.shape[-2], bin_width, n_harmonics)
    tooth = torch.exp(-0.5 * (distance / width).square())
    slope = gradient * height[..., None, :] * tooth * distance / width**2
    return (
        (slope * nearest).sum(-2),
        (gradient * tooth).sum(-2),
        (slope * distance).sum(-2) / width,
    )


@torch.library.custom_op("torchprim::harmonic_comb", mutates_args=())
def _comb(f0: Tensor, height: Tensor, width: Tensor, bins: int, bin_width: float, n_harmonics: int) -> Tensor:
    if takes_kernel(f0, height, width):
        from torchprim.kernels.voicing import harmonic_comb_triton

        return harmonic_comb_triton.forward(f0, height, width, bins, bin_width, n_harmonics)
    return reference(f0, height, width, bins, bin_width, n_harmonics)


@_comb.register_fake
def _(f0, height, width, bins, bin_width, n_harmonics):
    return f0.new_empty(*f0.shape[:-1], bins, f0.shape[-1])


@torch.library.custom_op("torchprim::harmonic_comb_backward", mutates_args=())
def _comb_backward(
    gradient: Tensor, f0: Tensor, height: Tensor, width: Tensor, bin_width: float, n_harmonics: int
) -> tuple[Tensor, Tensor, Tensor]:
    if takes_kernel(gradient, f0, height, width):
        from torchprim.kernels.voicing import harmonic_comb_triton

        return harmonic_comb_triton.backward(gradient, f0, height, width, bin_width, n_harmonics)
    return reference_gradients(gradient, f0, height, width, bin_width, n_harmonics)


@_comb_backward.register_fake
def _(gradient, f0, height, width, bin_width, n_harmonics):
    return torch.empty_like(f0), torch.empty_like(f0), torch.empty_like(f0)


def _remember(ctx, inputs, output):
    *tensors, _, ctx.bin_width, ctx.n_harmonics = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx, gradient):
    f0, height, width = _comb_backward(gradient, *ctx.saved_tensors, ctx.bin_width, ctx.n_harmonics)
    return f0, height, width.sum(), None, None, None


_comb.register_autograd(_gradients, setup_context=_remember)


def harmonic_comb(
    f0: Tensor,
    height: Tensor,
    bins: int,
    bin_width: float,
    width: float | Tensor = 32.0,
    n_harmonics: int = 40,
) -> Tensor:
    """Mask that is high near the harmonics of a pitch: height · exp(-d² / 2 width²).

    d is the distance in Hz to the nearest of the harmonics 1 ... n_harmonics.

    Args:
        f0: `(..., N)`, in Hz, above 0.
        height: `(..., N)`, in [0, 1]; 0 where there is no voice.
        bins: F.
        bin_width: distance of two bins in Hz.
        width: standard deviation of a tooth in Hz; a tensor of one number receives a gradient.
        n_harmonics: number of teeth.

    Returns:
        `(..., F, N)`. Gradients flow to f0, height and width; the number of the nearest harmonic is taken
        as fixed: half-way between two of them, where the comb has a kink, it is the upper one's.

    Example:
        >>> import torch
        >>> from torchprim.kernels.voicing.harmonic_comb import harmonic_comb
        >>> comb = harmonic_comb(torch.tensor([200.0]), torch.tensor([1.0]), 5, 100.0)
        >>> [round(x, 3) for x in comb[:, 0].tolist()]
        [0.0, 0.008, 1.0, 0.008, 1.0]
    """
    if not isinstance(width, Tensor):
        width = torch.full((), width, dtype=f0.dtype, device=f0.device)
    f0, height = torch.broadcast_tensors(f0, height)
    return _comb(f0.contiguous(), height.contiguous(), width.reshape(()), bins, bin_width, n_harmonics)
