"""A mask from one time-frequency grid onto another."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim import checks
from torchprim.spectra.stft import Geometry


def regrid(mask: Tensor, old: Geometry, new: Geometry, frames: int) -> Tensor:
    """Bilinear interpolation in Hz and seconds; beyond the old grid's edge its last value.

    Args:
        mask: `(..., F, N)` on the old grid.
        old: its grid.
        new: the wanted grid.
        frames: N of the result.

    Returns:
        `(..., new.bins, frames)`.

    Raises:
        ValueError: for a mask that is not of the old grid.

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
    return _read(_read(mask, bins, -2), seconds * (old.sample_rate / old.hop_length), -1)


def _read(values: Tensor, place: Tensor, dim: int) -> Tensor:
    """Values at fractional places along a dimension."""
    last = values.shape[dim] - 1
    place = place.to(values.dtype).clamp(0, last)
    low = place.floor().long()
    part = place - low
    part = part[:, None] if dim == -2 else part
    high = (low + 1).clamp(max=last)
    return torch.lerp(values.index_select(dim, low), values.index_select(dim, high), part)
