"""Low bins one by one, high ones in groups: what a convolution need not see at full resolution."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


class Bands:
    """Between the F bins of a spectrogram and R rows of a network.

    The lowest `fine` bins are rows of their own; above, every `coarse` bins share one. With 256 and 8 of
    1025 bins the rows are 353 and a step of a U-Net takes 0.4 of the time; the sound above 5.5 kHz, where
    groups begin, holds little of a song's power, and no harmonics that could be told apart.

    Args:
        bins: F.
        fine: number of bins that are kept; F or more keeps all.
        coarse: bins in a row above them.

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
        """Magnitudes `(..., F, N)` to `(..., R, N)`: of a group, the root of its mean power."""
        if self.rows == self.bins:
            return magnitude
        high = magnitude[..., self.fine :, :]
        high = pad(high, (0, 0, 0, -high.shape[-2] % self.coarse)).unflatten(-2, (-1, self.coarse))
        # A derivative at a power of 0 is not wanted: silence stays silence.
        power = high.square().mean(-2)
        silent = power <= 0
        high = power.masked_fill(silent, 1).sqrt().masked_fill(silent, 0)
        return torch.cat([magnitude[..., : self.fine, :], high], -2)

    def average(self, masks: Tensor) -> Tensor:
        """Masks `(..., F, N)` to `(..., R, N)`: of a group, the mean."""
        if self.rows == self.bins:
            return masks
        low, high = masks.split([self.fine, self.bins - self.fine], -2)
        whole = high.shape[-2] // self.coarse * self.coarse
        parts = [low, high[..., :whole, :].unflatten(-2, (-1, self.coarse)).mean(-2)]
        if whole < high.shape[-2]:
            parts.append(high[..., whole:, :].mean(-2, keepdim=True))
        return torch.cat(parts, -2)

    def expand(self, rows: Tensor, dim: int) -> Tensor:
        """Rows along one dimension to bins: those of a group are alike."""
        if self.rows == self.bins:
            return rows
        low, high = rows.split([self.fine, self.rows - self.fine], dim)
        high = high.repeat_interleave(self.coarse, dim).narrow(dim, 0, self.bins - self.fine)
        return torch.cat([low, high], dim)
