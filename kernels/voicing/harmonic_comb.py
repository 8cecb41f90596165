"""A soft harmonic comb from a pitch track."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.register import register_gradient, register_operator


def _teeth(f0: Tensor, bins: int, bin_width: float, n_harmonics: int) -> tuple[Tensor, Tensor]:
    """Return the number of the nearest harmonic and the distance to it in Hz, `(..., F, N)`."""
    frequency = torch.arange(bins, dtype=f0.dtype, device=f0.device)[:, None] * bin_width
    f0 = f0[..., None, :]
    nearest = torch.floor(frequency / f0 + 0.5).clamp(1, n_harmonics)
    return nearest, frequency - nearest * f0


def reference(
    f0: Tensor, height: Tensor, width: Tensor, bins: int, bin_width: float, n_harmonics: int
) -> Tensor:
    """Compute the comb as its equation is written."""
    _, distance = _teeth(f0, bins, bin_width, n_harmonics)
    return height[..., None, :] * torch.exp(-0.5 * (distance / width).square())


def reference_gradients(
    gradient: Tensor, f0: Tensor, height: Tensor, width: Tensor, bin_width: float, n_harmonics: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute gradients to f0, height and width; the number of the nearest harmonic is fixed."""
    nearest, distance = _teeth(f0, gradient.shape[-2], bin_width, n_harmonics)
    tooth = torch.exp(-0.5 * (distance / width).square())
    slope = gradient * height[..., None, :] * tooth * distance / width**2
    d_width = (slope * distance).sum(-2) / width  # of each frame
    return (slope * nearest).sum(-2), (gradient * tooth).sum(-2), d_width.sum()


_comb = register_operator(
    "harmonic_comb",
    reference,
    kernel="harmonic_comb_triton.forward",
    fake=lambda f0, bins: f0.new_empty(*f0.shape[:-1], bins, f0.shape[-1]),
)
_comb_backward = register_operator(
    "harmonic_comb_backward",
    reference_gradients,
    kernel="harmonic_comb_triton.backward",
    fake=lambda f0, width: (torch.empty_like(f0), torch.empty_like(f0), width.new_empty(())),
)
register_gradient(_comb, _comb_backward, to=("f0", "height", "width"))


def harmonic_comb(
    f0: Tensor,
    height: Tensor,
    bins: int,
    bin_width: float,
    width: float | Tensor = 32.0,
    n_harmonics: int = 40,
) -> Tensor:
    """Compute a mask that is high near the harmonics of a pitch: height · exp(-d² / 2 width²).

    d is the distance in Hz to the nearest of the harmonics 1 ... n_harmonics.

    Args:
        f0: `(..., N)`, in Hz, above 0.
        height: `(..., N)`, in [0, 1]; 0 where unvoiced.
        bins: F.
        bin_width: distance of two bins in Hz.
        width: standard deviation of a tooth in Hz; a tensor of one number receives a gradient.
        n_harmonics: number of teeth.

    Returns:
        `(..., F, N)`. Gradients flow to f0, height and width; the number of the nearest harmonic is fixed:
        half-way between two of them, where the comb has a kink, it is the upper one's.

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
