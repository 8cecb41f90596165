"""Peaks of a 2-D Fourier magnitude that stand out from their neighbourhood."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchprim import checks

_EPSILON = 1e-7


def _reflected(rows: Tensor) -> Tensor:
    """Rate n -> -n on the circle of rates: index 0 stays, the others turn round."""
    return rows.flip(-1).roll(1, -1)


@dataclass(frozen=True)
class _Local:
    """Maximum, mean and sum of squared deviations over `count` entries around each place."""

    highest: Tensor
    mean: Tensor
    squares: Tensor
    count: int

    def narrow(self, dim: int, start: int, length: int) -> _Local:
        parts = (x.narrow(dim, start, length) for x in (self.highest, self.mean, self.squares))
        return _Local(*parts, self.count)

    def joined(self, other: _Local) -> _Local:
        """Statistics of two sets together (Chan, Golub and LeVeque 1983): nothing cancels."""
        count = self.count + other.count
        apart = other.mean - self.mean
        return _Local(
            torch.maximum(self.highest, other.highest),
            self.mean + apart * (other.count / count),
            self.squares + other.squares + apart.square() * (self.count * other.count / count),
            count,
        )


def _windowed(local: _Local, size: int, dim: int) -> _Local:
    """Statistics over `size` successive places by doubling: size 25 takes 6 steps, not 24."""
    length = local.mean.shape[dim] - size + 1
    result, done = None, 0
    power, width = local, 1
    while True:
        if size & width:
            part = power.narrow(dim, done, length)
            result = part if result is None else result.joined(part)
            done += width
        if done == size:
            return result
        step = power.mean.shape[dim] - width
        power = power.narrow(dim, 0, step).joined(power.narrow(dim, width, step))
        width *= 2


def _neighbourhoods(m: Tensor, bins: int, neighbourhood: tuple[int, int]) -> Tensor:
    """The half plane with a margin of half a neighbourhood all round, continued as the plane goes on."""
    scales, rates = (size // 2 for size in neighbourhood)
    if scales:
        # Scale -s at rate n is scale s at rate -n; above the last kept row lies scale bins - s.
        row = torch.arange(-scales, m.shape[-2] + scales, device=m.device) % bins
        folded = row >= m.shape[-2]
        below = _reflected(m).index_select(-2, torch.where(folded, (bins - row) % bins, 0))
        m = torch.where(folded[:, None], below, m.index_select(-2, torch.where(folded, 0, row)))
    if rates:
        column = torch.arange(-rates, m.shape[-1] + rates, device=m.device) % m.shape[-1]
        m = m.index_select(-1, column)
    return m


def local_peaks(m: Tensor, bins: int, neighbourhood: tuple[int, int] = (1, 25)) -> Tensor:
    """How far each local maximum of a 2-D Fourier magnitude stands out from its surroundings.

    P = (M - mean) / (std + 1e-7) where M equals the maximum of its neighbourhood, else 0, with mean and
    standard deviation over the neighbourhood, which wraps round the plane; then P / max P
    (Seetharaman, Pishdadian and Pardo 2017). The result is point-symmetric about zero.

    Args:
        m: `(..., S, N)`, scales 0 .. bins // 2 and all N rates of a real 2-D transform, scaled to a
            maximum of 1. The other scales are point reflections of these.
        bins: number of scales of the whole plane.
        neighbourhood: scales and rates, odd, at most the size of the plane.

    Returns:
        `(..., S, N)` in [0, 1]. The gradient flows through the values of the peaks; which entries are
        peaks, and which is the largest, are taken as fixed choices.

    Raises:
        ValueError: for a neighbourhood that is even or larger than 1023 either way.

    Example:
        >>> import torch
        >>> from torchprim.kernels.local_peaks import local_peaks
        >>> m = torch.zeros(3, 8)
        >>> m[1, 3] = 1.0
        >>> local_peaks(m, 4, (1, 3))[1].tolist()
        [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    for size in neighbourhood:
        checks.integer(size, "neighbourhood", 1, 1023)
        if size % 2 == 0:
            raise ValueError(f"neighbourhood must be odd both ways, got {neighbourhood}")
    around = _neighbourhoods(m, bins, neighbourhood)
    entries = _Local(around.detach(), around, torch.zeros_like(around), 1)
    local = _windowed(_windowed(entries, neighbourhood[1], -1), neighbourhood[0], -2)
    variance = local.squares / local.count
    # The derivative of a square root at 0 is infinite; a flat neighbourhood is given a gradient of 0.
    flat = variance <= 0
    deviation = variance.masked_fill(flat, 1).sqrt().masked_fill(flat, 0)
    peaks = torch.where(m == local.highest, (m - local.mean) / (deviation + _EPSILON), 0)
    # Rows that are their own reflection are made symmetric to the last bit.
    own = [0] if bins % 2 or bins == 1 else [0, bins // 2]
    for row in own:
        both = torch.maximum(peaks[..., row, :], _reflected(peaks[..., row, :]))
        peaks = torch.cat([peaks[..., :row, :], both[..., None, :], peaks[..., row + 1 :, :]], dim=-2)
    highest = peaks.amax((-2, -1), keepdim=True)
    return peaks / torch.where(highest > 0, highest, 1)
