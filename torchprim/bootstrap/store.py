"""Store of source estimates of whole segments, on the device, refreshed in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchprim import progress
from torchprim.bootstrap.banks.cache import FULL_SCALE
from torchprim.bootstrap.seeds import mixed_seed


class Estimate(NamedTuple):
    """Estimated sources of a segment, and the mask that they are of where it is needed."""

    sources: Sequence[Tensor]  # K, by class: (T,) each, in stereo (2, T)
    mask: Tensor | None = None  # (F, N) of the vocals, of more than two sources (K, F, N)


class RemixStore:
    """Ring buffer of estimates whose content at any step is a function of (seed, rank, step).

    The segments are visited in a new shuffled order each epoch. The first `slots` of this sequence fill the
    store; then the next ones replace the oldest, one every `interval` steps on average, `group` of them at a
    time. The groups are the same wherever training resumes: rounding depends on the size of a batch.
    A store with room for all segments is filled once and never refreshed.

    The samples of all slots are one tensor, quantised, from which a batch of excerpts is cut at once.

    Args:
        segments: indices of the trusted segments, of this rank.
        slots: capacity; rounded up to whole groups, at most all segments.
        interval: refresh interval in steps.
        seed: integers that the orders are derived from; different on each rank.
        estimate: returns the estimates of several segments.
        length: samples of the longest segment.
        hop: samples between the frames at which excerpts start.
        group: segments that are estimated together.

    Attributes:
        audio: `(slots, K, length)` or `(slots, K, 2, length)` int16: sources by class; undefined beyond a
            shorter segment.
        progress: whether to show a bar while the store is filled, which can take minutes; settable.
        scale: `(slots, 1)` or `(slots, 1, 1)`: audio is `int16 * scale`.
        strength: `(slots, F, N)` uint8: 255 times the posterior strength of each bin; None without masks.
    """

    def __init__(
        self,
        segments: Sequence[int],
        slots: int,
        interval: int,
        seed: tuple[int, ...],
        estimate: Callable[[list[int]], list[Estimate]],
        length: int,
        hop: int = 1,
        group: int = 1,
    ) -> None:
        self.segments: list[int] = list(segments)
        self.slots: int = min(-(-slots // group) * group, len(self.segments))
        self.interval: int = interval
        self.group: int = group
        self.length: int = length
        self.hop: int = hop
        self.progress: bool = False
        self.seed = seed
        self.estimate = estimate
        self._positions = np.full(self.slots, -1)  # of each slot, in the sequence of segments
        self._held = np.full(self.slots, -1)  # segment of each slot
        self._orders: dict[int, NDArray[np.integer]] = {}  # of the current and the previous epoch
        self.audio: Tensor | None = None  # until the first estimate, which knows the device
        self.scale: Tensor | None = None
        self.strength: Tensor | None = None

    def _segment_at(self, position: int) -> int:
        """Return the segment at a position of the sequence."""
        if self.slots == len(self.segments):
            return self.segments[position]
        epoch, index = divmod(position, len(self.segments))
        if epoch not in self._orders:
            order = np.random.default_rng(mixed_seed(*self.seed, epoch)).permutation(len(self.segments))
            previous = {k: v for k, v in self._orders.items() if k == epoch - 1}
            self._orders = {epoch: order, **previous}
        return self.segments[self._orders[epoch][index]]

    def at(self, step: int) -> NDArray[np.integer]:
        """Return the segment of each slot at a step; stale estimates are replaced first."""
        holds_all = self.slots == len(self.segments)
        refreshed = 0 if holds_all else step // (self.interval * self.group) * self.group
        last = self.slots + refreshed - 1  # position of the newest estimate
        positions = last - (last - np.arange(self.slots)) % self.slots
        stale = np.flatnonzero(positions != self._positions)
        pairs = sorted(zip(positions[stale].tolist(), stale.tolist(), strict=True))
        if not pairs:
            return self._held
        shows = self.progress and self.audio is None  # a refresh of one group is not shown
        with progress.bar("estimate", total=len(pairs), unit="segment", shows=shows, leave=None) as bar:
            for _, members in groupby(pairs, lambda pair: pair[0] // self.group):
                group = list(members)
                segments = [self._segment_at(position) for position, _ in group]
                estimates = self.estimate(segments)
                for (position, slot), segment, estimate in zip(group, segments, estimates, strict=True):
                    self._write(slot, estimate)
                    self._positions[slot], self._held[slot] = position, segment
                bar.update(len(group))
        return self._held

    def _write(self, slot: int, estimate: Estimate) -> None:
        """Quantise an estimate into its slot."""
        audio = torch.stack(list(estimate.sources))
        if self.audio is None:
            self.audio = audio.new_zeros((self.slots, *audio.shape[:-1], self.length), dtype=torch.int16)
            self.scale = audio.new_zeros((self.slots, *[1] * (audio.dim() - 1)))
        # As in `cache.to_int16`, but without a synchronisation with the device.
        scale = audio.abs().amax().clamp(min=1.0) / FULL_SCALE
        self.audio[slot, ..., : audio.shape[-1]] = (audio / scale).round()
        self.scale[slot] = scale
        if estimate.mask is not None:
            strength = (255 * _strength(estimate.mask)).round()
            if self.strength is None:
                shape = self.slots, len(strength), 1 + self.length // self.hop
                self.strength = strength.new_zeros(shape, dtype=torch.uint8)
            self.strength[slot, :, : strength.shape[-1]] = strength

    def excerpts(self, slots: Tensor, starts: Tensor, source: Tensor | int, length: int) -> Tensor:
        """Cut excerpts of one length from the slots, dequantised.

        Args:
            slots: `(...)`, int64 on the store's device.
            starts: likewise, in hops.
            source: likewise, or one for all: its class.
            length: in samples.

        Returns:
            `(..., length)`, in stereo `(..., 2, length)`.
        """
        # (slots, K, starts, length) or (slots, K, starts, 2, length), a view
        windows = self.audio.unfold(-1, length, self.hop).movedim(-2, 2)
        return windows[slots, source, starts] * self.scale[slots]

    def strengths(self, slots: Tensor, starts: Tensor, frames: int) -> Tensor:
        """Cut the posterior strength `(B, F, frames)`, 255 for 1, from slots and first frames `(B,)`."""
        windows = self.strength.unfold(-1, frames, 1).transpose(1, 2)  # (slots, starts, F, frames), a view
        return windows[slots, starts]


def _strength(mask: Tensor) -> Tensor:
    """Compute the posterior strength of each bin (equation 3): (K max - 1) / (K - 1)."""
    if mask.dim() == 2:
        return (2 * mask - 1).abs()
    count = len(mask)
    return (count * mask.amax(0) - 1).clamp(min=0) / (count - 1)
