"""Magnitude of a complex spectrum, stored with frames innermost whatever the order of the spectrum."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.register import load, register_operator, save


def paired(x: Tensor) -> bool:
    """Return whether real and imaginary parts `(..., 2)` lie in memory as complex numbers do."""
    return x.stride(-1) == 1 and all(stride % 2 == 0 for stride in x.stride()[:-1])


def as_complex(pairs: Tensor) -> Tensor:
    """View real and imaginary parts `(..., 2)` as complex numbers; a copy where they are not neighbours."""
    return torch.view_as_complex(pairs if paired(pairs) else pairs.contiguous())


def as_pairs(spectrum: Tensor) -> Tensor:
    """View complex numbers as real and imaginary parts `(..., 2)`, which operators take: Triton has none."""
    return torch.view_as_real(spectrum.resolve_conj())


def reference(spectrum: Tensor) -> Tensor:
    """Compute the magnitude of `(..., F, N, 2)`."""
    return as_complex(spectrum).abs().contiguous()


_magnitude = register_operator(
    "magnitude",
    reference,
    kernel="magnitude_triton.forward",
    fake=lambda spectrum: spectrum.new_empty(spectrum.shape[:-1]),
)


def _gradient(ctx, gradient: Tensor) -> Tensor:
    (spectrum,) = load(ctx)
    return gradient[..., None] * as_pairs(as_complex(spectrum).sgn())


_magnitude.register_autograd(_gradient, setup_context=lambda ctx, inputs, output: save(ctx, inputs))


def magnitude(spectrum: Tensor) -> Tensor:
    """Compute |X|, contiguous.

    A transform over each frame writes bins innermost; medians, the 2DFT and masks want frames innermost.
    Tiles of both orders change one for the other in the same pass.

    Args:
        spectrum: X `(..., F, N)`, complex, in any order in memory.

    Returns:
        `(..., F, N)`, real and contiguous. Its gradient is X / |X|, and 0 where X is.

    Raises:
        ValueError: for a spectrum that is not complex or has fewer than 2 dimensions.

    Example:
        >>> import torch
        >>> from torchprim.kernels.spectra.magnitude import magnitude
        >>> magnitude(torch.full((3, 2), 3 + 4j).mT).tolist()
        [[5.0, 5.0, 5.0], [5.0, 5.0, 5.0]]
    """
    if not isinstance(spectrum, Tensor) or not spectrum.is_complex() or spectrum.dim() < 2:
        raise ValueError(f"spectrum must be a complex tensor of shape (..., F, N), got {spectrum!r}")
    return _magnitude(as_pairs(spectrum))
