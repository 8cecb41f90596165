"""Interpolation of a mask from one STFT grid to another."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim import checks
from torchprim.spectra.stft import Geometry


def regrid(mask: Tensor, old: Geometry, new: Geometry, frames: int) -> Tensor:
    """Interpolate a mask bilinearly, in Hz and seconds, at the bins and frames of another grid.

    Beyond its edge the mask is extended by its last bin or frame.

    Args:
        mask: `(..., F, N)` on the old grid.
        old: grid of the mask.
        new: grid of the result.
        frames: number of frames of the result.

    Returns:
        `(..., new.bins, frames)`.

    Raises:
        ValueError: for a mask that does not have the old grid's bins, or frames < 1.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.spectra.regrid import regrid
        >>> old, new = tp.Geometry(16000, 512, 128), tp.Geometry()
        >>> regrid(torch.rand(2, 257, 126), old, new, 87).shape
        torch.Size([2, 1025, 87])
    """
    mask = checks.real(mask, "mask", 2, "(..., F, N)")
    if mask.shape[-2] != old.bins:
        raise ValueError(f"mask must have {old.bins} bins, got shape {tuple(mask.shape)}")
    checks.integer(frames, "frames", 1)
    bins = torch.arange(new.bins, device=mask.device) * (new.bin_width / old.bin_width)
    seconds = torch.arange(frames, device=mask.device) * (new.hop_length / new.sample_rate)
    by_bins = _interpolate(mask, bins, -2)
    return _interpolate(by_bins, seconds * (old.sample_rate / old.hop_length), -1)


def _interpolate(values: Tensor, index: Tensor, dim: int) -> Tensor:
    """Interpolate linearly at fractional indices along `dim`, -2 or -1."""
    last = values.shape[dim] - 1
    index = index.to(values.dtype).clamp(0, last)
    low = index.floor().long()
    fraction = index - low
    fraction = fraction[:, None] if dim == -2 else fraction
    high = (low + 1).clamp(max=last)
    return torch.lerp(values.index_select(dim, low), values.index_select(dim, high), fraction)
