"""Maximum, mean and squared deviation over the neighbourhoods of half a 2-D Fourier plane.

The plane of a real signal is point-symmetric: scale k at rate n is scale -k at rate -n, both modulo the
size of the plane. Half of it suffices: all scales, and the rates 0 .. N // 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def _reflected(m: Tensor) -> Tensor:
    """Map scale k to -k modulo the number of scales: index 0 stays, the others are reversed."""
    return m.flip(-2).roll(1, -2)


def _symmetrised(column: Tensor) -> Tensor:
    """Make a column `(..., F, 1)` its own reflection to the last bit: -k is read at k, the lower index."""
    bins = column.shape[-2]
    upper = column.narrow(-2, 1, (bins + 1) // 2 - 1)
    return torch.cat([column.narrow(-2, 0, bins // 2 + 1), upper.flip(-2)], -2)


def padded(m: Tensor, frames: int, neighbourhood: tuple[int, int], symmetric: bool = False) -> Tensor:
    """Pad the half plane by half a neighbourhood on each side, with the entries of the whole plane.

    Rates that are their own reflection, 0 and for even N also N / 2, are made symmetric to the last bit,
    unless they are `symmetric` already.
    """
    scales, rates = (size // 2 for size in neighbourhood)
    columns = m.shape[-1]
    before = _reflected(m.narrow(-1, 1, rates)).flip(-1) if rates else None
    after = _reflected(m.narrow(-1, frames - columns - rates + 1, rates)).flip(-1) if rates else None
    middle = [m]
    if not symmetric:
        last = 0 if frames % 2 or frames == 1 else 1
        middle = [_symmetrised(m.narrow(-1, 0, 1)), m.narrow(-1, 1, columns - 1 - last)]
        middle += [_symmetrised(m.narrow(-1, columns - 1, 1))] if last else []
    m = torch.cat([x for x in (before, *middle, after) if x is not None], -1)
    if scales:
        m = torch.cat([m.narrow(-2, m.shape[-2] - scales, scales), m, m.narrow(-2, 0, scales)], -2)
    return m


def _doubled(entries, size: int, dim: int, length: int):
    """Compute statistics over windows of `size` entries by doubling: size 25 takes 6 steps, not 24."""
    result, done = None, 0
    power, width = entries, 1
    count = length  # windows that `power` has
    while True:
        if size & width:
            part = power.narrow(dim, done, length - size + 1)
            result = part if result is None else result.joined(part)
            done += width
        if done == size:
            return result
        count -= width
        power = power.narrow(dim, 0, count).joined(power.narrow(dim, width, count))
        width *= 2


@dataclass(frozen=True)
class _Largest:
    value: Tensor

    def narrow(self, dim: int, start: int, length: int) -> _Largest:
        return _Largest(self.value.narrow(dim, start, length))

    def joined(self, other: _Largest) -> _Largest:
        return _Largest(torch.maximum(self.value, other.value))


@dataclass(frozen=True)
class _Moments:
    """Mean and sum of squared deviations of windows of `count` entries."""

    mean: Tensor
    squares: Tensor | None
    count: int

    def narrow(self, dim: int, start: int, length: int) -> _Moments:
        squares = None if self.squares is None else self.squares.narrow(dim, start, length)
        return _Moments(self.mean.narrow(dim, start, length), squares, self.count)

    def joined(self, other: _Moments) -> _Moments:
        """Merge the statistics of two sets (Chan, Golub and LeVeque 1983): nothing cancels."""
        count = self.count + other.count
        delta = other.mean - self.mean
        squares = delta.square() * (self.count * other.count / count)
        for part in (self.squares, other.squares):
            squares = squares if part is None else squares + part
        return _Moments(self.mean + delta * (other.count / count), squares, count)


def _largest_along(near: Tensor, size: int, dim: int) -> Tensor:
    return _doubled(_Largest(near), size, dim, near.shape[dim]).value


def largest(near: Tensor, neighbourhood: tuple[int, int]) -> Tensor:
    """Compute the maximum of each neighbourhood of a plane from `padded`."""
    return _largest_along(_largest_along(near, neighbourhood[1], -1), neighbourhood[0], -2)


def moments(near: Tensor, neighbourhood: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Compute mean and sum of squared deviations of each neighbourhood of a plane from `padded`."""
    result = _Moments(near, None, 1)
    for size, dim in ((neighbourhood[1], -1), (neighbourhood[0], -2)):
        result = _doubled(result, size, dim, near.shape[dim])
    return result.mean, torch.zeros_like(result.mean) if result.squares is None else result.squares
