"""Store of source estimates of whole segments, on the device, refreshed in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.bootstrap.cache import FULL_SCALE, to_float
from torchprim.bootstrap.seeds import derived_generator


class StoredEstimate(NamedTuple):
    """Estimated vocals and accompaniment of a segment, quantised."""

    segment: int
    audio: Tensor  # (2, T) int16: vocals, accompaniment
    scale: Tensor  # (): audio = int16 * scale / 32767
    strength: Tensor | None  # (F, N) uint8: 255 times the posterior strength of each bin

    def crop(self, source: int, start: int, length: int) -> Tensor:
        """Dequantise `length` samples of vocals (0) or accompaniment (1)."""
        return to_float(self.audio[source, start : start + length], self.scale)


def pack(segment: int, vocals: Tensor, accompaniment: Tensor, mask: Tensor | None = None) -> StoredEstimate:
    """Quantise two stems `(T,)`, and the posterior strength of a mask `(F, N)` if there is one."""
    audio = torch.stack([vocals, accompaniment])
    # As in `cache.to_int16`, but without a synchronisation with the device.
    scale = audio.abs().amax().clamp(min=1.0)
    strength = None if mask is None else (255 * (2 * mask - 1).abs()).round().to(torch.uint8)
    return StoredEstimate(segment, (audio * (FULL_SCALE / scale)).round().to(torch.int16), scale, strength)


class RemixStore:
    """Ring buffer of estimates whose content at any step is a function of (seed, rank, step).

    The segments are visited in a new shuffled order each epoch. The first `slots` of this sequence fill the
    store; then the next ones replace the oldest, one every `interval` steps on average, `group` of them at a
    time. The groups are the same wherever training resumes: rounding depends on the size of a batch.
    A store with room for all segments is filled once and never refreshed.

    Args:
        segments: indices of the trusted segments, of this rank.
        slots: capacity; rounded up to whole groups, at most all segments.
        interval: refresh interval in steps.
        seed: integers that the orders are derived from; different on each rank.
        estimate: returns the estimates of several segments.
        group: segments that are estimated together.
    """

    def __init__(
        self,
        segments: Sequence[int],
        slots: int,
        interval: int,
        seed: tuple[int, ...],
        estimate: Callable[[list[int]], list[StoredEstimate]],
        group: int = 1,
    ) -> None:
        self.segments: list[int] = list(segments)
        self.slots: int = min(-(-slots // group) * group, len(self.segments))
        self.interval: int = interval
        self.group: int = group
        self.seed = seed
        self.estimate = estimate
        self._positions: list[int] = [-1] * self.slots  # of each slot, in the sequence of segments
        self._estimates: list[StoredEstimate | None] = [None] * self.slots
        self._orders: dict[int, list[int]] = {}  # of the current and the previous epoch

    def _segment_at(self, position: int) -> int:
        """Return the segment at a position of the sequence."""
        if self.slots == len(self.segments):
            return self.segments[position]
        epoch, index = divmod(position, len(self.segments))
        if epoch not in self._orders:
            generator = derived_generator(*self.seed, epoch)
            order = torch.randperm(len(self.segments), generator=generator).tolist()
            previous = {k: v for k, v in self._orders.items() if k == epoch - 1}
            self._orders = {epoch: order, **previous}
        return self.segments[self._orders[epoch][index]]

    def at(self, step: int) -> list[StoredEstimate]:
        """Return the estimates of all slots at a step; stale ones are computed first."""
        holds_all = self.slots == len(self.segments)
        refreshed = 0 if holds_all else step // (self.interval * self.group) * self.group
        last = self.slots + refreshed - 1  # position of the newest estimate
        positions = [last - (last - slot) % self.slots for slot in range(self.slots)]
        stale = sorted(
            (positions[slot], slot) for slot in range(self.slots) if self._positions[slot] != positions[slot]
        )
        for _, members in groupby(stale, lambda pair: pair[0] // self.group):
            group = list(members)
            estimates = self.estimate([self._segment_at(position) for position, _ in group])
            for (position, slot), estimate in zip(group, estimates, strict=True):
                self._positions[slot], self._estimates[slot] = position, estimate
        return self._estimates
