"""Magnitude of a complex spectrum, with frames innermost whatever the spectrum's order, and its maxima."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.register import load, register_operator, save

CHUNK = 8  # frames that have one maximum: a sector of memory


def paired(x: Tensor) -> bool:
    """Return whether real and imaginary parts `(..., 2)` lie in memory as complex numbers do."""
    return x.stride(-1) == 1 and all(stride % 2 == 0 for stride in x.stride()[:-1])


def as_complex(pairs: Tensor) -> Tensor:
    """View real and imaginary parts `(..., 2)` as complex numbers; a copy where they are not neighbours."""
    return torch.view_as_complex(pairs if paired(pairs) else pairs.contiguous())


def as_pairs(spectrum: Tensor) -> Tensor:
    """View complex numbers as real and imaginary parts `(..., 2)`, which operators take: Triton has none."""
    return torch.view_as_real(spectrum.resolve_conj())


def reference(spectrum: Tensor, maxima: bool) -> tuple[Tensor, Tensor]:
    """Compute the magnitude of `(..., F, N, 2)` and, on request, the maxima of its chunks."""
    result = as_complex(spectrum).abs().contiguous()
    if not maxima or result.numel() == 0:
        return result, result.new_empty(_chunks(spectrum, maxima))
    padded = torch.nn.functional.pad(result, (0, -result.shape[-1] % CHUNK))
    return result, padded.unflatten(-1, (-1, CHUNK)).amax(-1)


def _chunks(spectrum: Tensor, maxima: bool) -> tuple[int, ...]:
    """Return the shape of the maxima."""
    *rows, frames, _ = spectrum.shape
    return (*rows, (frames + CHUNK - 1) // CHUNK) if maxima else (0,)


_magnitude = register_operator(
    "magnitude",
    reference,
    kernel="magnitude_triton.forward",
    fake=lambda spectrum, maxima: (
        spectrum.new_empty(spectrum.shape[:-1]),
        spectrum.new_empty(_chunks(spectrum, maxima)),
    ),
)


def _setup_context(ctx, inputs, output) -> None:
    ctx.mark_non_differentiable(output[1])
    save(ctx, inputs[:1])


def _gradient(ctx, gradient: Tensor, _: Tensor) -> tuple[Tensor, None]:
    (spectrum,) = load(ctx)
    return gradient[..., None] * as_pairs(as_complex(spectrum).sgn()), None


_magnitude.register_autograd(_gradient, setup_context=_setup_context)


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
    return _magnitude(_checked(spectrum), False)[0]


def magnitude_and_maxima(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Compute |X| and the maximum of every 8 of its frames in one pass.

    Whoever looks for the loudest bins reads an eighth of the magnitude first: `loudest_bins`.

    Args:
        spectrum: as in `magnitude`.

    Returns:
        The magnitude `(..., F, N)` as `magnitude` has it, and its maxima `(..., F, (N + 7) // 8)`, which have
        no gradient.

    Raises:
        ValueError: as `magnitude`.

    Example:
        >>> import torch
        >>> from torchprim.kernels.spectra.magnitude import magnitude_and_maxima
        >>> _, maxima = magnitude_and_maxima(torch.arange(10.0).view(1, 10) + 0j)
        >>> maxima.tolist()
        [[7.0, 9.0]]
    """
    return _magnitude(_checked(spectrum), True)


def _checked(spectrum: Tensor) -> Tensor:
    """Check a complex spectrum; return its parts."""
    if not isinstance(spectrum, Tensor) or not spectrum.is_complex() or spectrum.dim() < 2:
        raise ValueError(f"spectrum must be a complex tensor of shape (..., F, N), got {spectrum!r}")
    return as_pairs(spectrum)
