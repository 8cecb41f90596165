"""Maximum, mean and squared deviation over the neighbourhoods of half a 2-D Fourier plane.

The plane of a real signal is point-symmetric: scale k at rate n is scale -k at rate -n, both modulo the
size of the plane. Half of it is kept: all scales, and the rates 0 .. N // 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def _reflected(m: Tensor) -> Tensor:
    """Scale k -> -k on the circle of scales: index 0 stays, the others turn round."""
    return m.flip(-2).roll(1, -2)


def _read_once(column: Tensor) -> Tensor:
    """A column `(..., F, 1)` that is its own reflection: k and -k are both read at the lower of them."""
    bins = column.shape[-2]
    upper = column.narrow(-2, 1, (bins + 1) // 2 - 1)
    return torch.cat([column.narrow(-2, 0, bins // 2 + 1), upper.flip(-2)], -2)


def around(m: Tensor, frames: int, neighbourhood: tuple[int, int], symmetric: bool = False) -> Tensor:
    """The half plane with a margin of half a neighbourhood all round, continued as the plane goes on.

    Rates that are their own reflection, 0 and for even N also N / 2, come out symmetric to the last bit;
    `symmetric` says that they are already.
    """
    scales, rates = (size // 2 for size in neighbourhood)
    kept = m.shape[-1]
    before = _reflected(m.narrow(-1, 1, rates)).flip(-1) if rates else None
    after = _reflected(m.narrow(-1, frames - kept - rates + 1, rates)).flip(-1) if rates else None
    middle = [m]
    if not symmetric:
        last = 0 if frames % 2 or frames == 1 else 1
        middle = [_read_once(m.narrow(-1, 0, 1)), m.narrow(-1, 1, kept - 1 - last)]
        middle += [_read_once(m.narrow(-1, kept - 1, 1))] if last else []
    m = torch.cat([x for x in (before, *middle, after) if x is not None], -1)
    if scales:
        m = torch.cat([m.narrow(-2, m.shape[-2] - scales, scales), m, m.narrow(-2, 0, scales)], -2)
    return m


def _doubled(entries, size: int, dim: int, length: int):
    """Statistics over `size` successive places by doubling: size 25 takes 6 steps, not 24."""
    result, done = None, 0
    power, width = entries, 1
    reach = length  # places that `power` covers
    while True:
        if size & width:
            part = power.narrow(dim, done, length - size + 1)
            result = part if result is None else result.joined(part)
            done += width
        if done == size:
            return result
        reach -= width
        power = power.narrow(dim, 0, reach).joined(power.narrow(dim, width, reach))
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
    """Mean and sum of squared deviations over `count` entries around each place."""

    mean: Tensor
    squares: Tensor | None
    count: int

    def narrow(self, dim: int, start: int, length: int) -> _Moments:
        squares = None if self.squares is None else self.squares.narrow(dim, start, length)
        return _Moments(self.mean.narrow(dim, start, length), squares, self.count)

    def joined(self, other: _Moments) -> _Moments:
        """Statistics of two sets together (Chan, Golub and LeVeque 1983): nothing cancels."""
        count = self.count + other.count
        apart = other.mean - self.mean
        squares = apart.square() * (self.count * other.count / count)
        for part in (self.squares, other.squares):
            squares = squares if part is None else squares + part
        return _Moments(self.mean + apart * (other.count / count), squares, count)


def _largest_along(near: Tensor, size: int, dim: int) -> Tensor:
    return _doubled(_Largest(near), size, dim, near.shape[dim]).value


def largest(near: Tensor, neighbourhood: tuple[int, int]) -> Tensor:
    """Maximum of each neighbourhood; `near` has the margins that `around` gives."""
    return _largest_along(_largest_along(near, neighbourhood[1], -1), neighbourhood[0], -2)


def moments(near: Tensor, neighbourhood: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Mean and sum of squared deviations of each neighbourhood."""
    found = _Moments(near, None, 1)
    for size, dim in ((neighbourhood[1], -1), (neighbourhood[0], -2)):
        found = _doubled(found, size, dim, near.shape[dim])
    return found.mean, torch.zeros_like(found.mean) if found.squares is None else found.squares
