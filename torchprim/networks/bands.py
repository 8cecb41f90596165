"""Coarser frequency resolution at high frequencies: low bins one by one, high ones in groups."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


class Bands:
    """Map the F bins of a spectrogram to R rows of a network, and back.

    The lowest `fine` bins are rows of their own; above, `coarse` neighbouring bins share one. With 256 and
    8 of 1025 bins there are 353 rows and a step of a U-Net takes 0.4 of the time; above 5.5 kHz, where
    groups begin, there is little of a song's power, and no harmonics that could be resolved.

    Args:
        bins: F.
        fine: number of lowest bins at full resolution; F or more for all.
        coarse: bins in a group above them.

    Example:
        >>> import torch
        >>> from torchprim.networks.bands import Bands
        >>> bands = Bands(1025, 256, 8)
        >>> bands.rows, bands.expand(bands.reduce(torch.rand(2, 1025, 7)), 1).shape
        (353, torch.Size([2, 1025, 7]))
    """

    def __init__(self, bins: int, fine: int, coarse: int) -> None:
        self.bins, self.fine, self.coarse = bins, min(fine, bins), coarse
        self.rows = self.fine + -(-(bins - self.fine) // coarse)

    def reduce(self, magnitude: Tensor) -> Tensor:
        """Reduce magnitudes `(..., F, N)` to `(..., R, N)`: the RMS of each group."""
        if self.rows == self.bins:
            return magnitude
        high = magnitude[..., self.fine :, :]
        high = pad(high, (0, 0, 0, -high.shape[-2] % self.coarse)).unflatten(-2, (-1, self.coarse))
        power = high.square().mean(-2)
        silent = power <= 0  # the square root has no derivative there; gradient 0 by convention
        high = power.masked_fill(silent, 1).sqrt().masked_fill(silent, 0)
        return torch.cat([magnitude[..., : self.fine, :], high], -2)

    def average(self, masks: Tensor) -> Tensor:
        """Average masks `(..., F, N)` to `(..., R, N)`: the mean of each group."""
        if self.rows == self.bins:
            return masks
        low, high = masks.split([self.fine, self.bins - self.fine], -2)
        full = high.shape[-2] // self.coarse * self.coarse  # bins in groups that are full
        parts = [low, high[..., :full, :].unflatten(-2, (-1, self.coarse)).mean(-2)]
        if full < high.shape[-2]:
            parts.append(high[..., full:, :].mean(-2, keepdim=True))
        return torch.cat(parts, -2)

    def expand(self, rows: Tensor, dim: int) -> Tensor:
        """Expand rows along one dimension to bins: the bins of a group are equal."""
        if self.rows == self.bins:
            return rows
        low, high = rows.split([self.fine, self.rows - self.fine], dim)
        high = high.repeat_interleave(self.coarse, dim).narrow(dim, 0, self.bins - self.fine)
        return torch.cat([low, high], dim)
