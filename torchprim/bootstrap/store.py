"""Source estimates of whole segments, kept on the device and renewed in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.bootstrap.cache import FULL_SCALE, to_float
from torchprim.bootstrap.seeds import mixed_seed


class Estimate(NamedTuple):
    """Vocals and accompaniment of a segment as the store holds them."""

    segment: int
    audio: Tensor  # (2, T) int16: vocals, accompaniment
    scale: Tensor  # (): audio = int16 * scale / 32767
    strength: Tensor | None  # (F, N) uint8: 255 times the posterior strength of each bin

    def crop(self, source: int, start: int, length: int) -> Tensor:
        """`length` samples of vocals (0) or accompaniment (1)."""
        return to_float(self.audio[source, start : start + length], self.scale)


def pack(segment: int, vocals: Tensor, accompaniment: Tensor, mask: Tensor | None = None) -> Estimate:
    """An estimate from two stems `(T,)`, and optionally the mask whose posterior strength is kept."""
    audio = torch.stack([vocals, accompaniment])
    # The larger of the loudest sample and 1, without asking the device for it.
    scale = audio.abs().amax().clamp(min=1.0)
    strength = None if mask is None else (255 * (2 * mask - 1).abs()).round().to(torch.uint8)
    return Estimate(segment, (audio * (FULL_SCALE / scale)).round().to(torch.int16), scale, strength)


class RemixStore:
    """Slots of estimates whose content at any step is a function of (seed, rank, step).

    The trusted segments are walked in one shuffled order after another. The first `slots` of that walk
    fill the store; then the next ones replace the oldest, one every `every` steps on average, `group` of
    them at a time. The same segments are always estimated together, wherever one begins: the last bits
    of a batch depend on its size. A store with room for all segments is filled once and stays.

    Args:
        segments: trusted segments, of this rank.
        slots: size of the store; rounded up to whole groups.
        every: steps from one renewal to the next.
        seed: of the walk; ranks get different ones.
        estimate: gives the estimates of several segments.
        group: segments that are estimated together.
    """

    def __init__(
        self,
        segments: Sequence[int],
        slots: int,
        every: int,
        seed: tuple[int, ...],
        estimate: Callable[[list[int]], list[Estimate]],
        group: int = 1,
    ) -> None:
        self.segments = list(segments)
        self.slots = min(-(-slots // group) * group, len(self.segments))
        self.every, self.group = every, group
        self.seed = seed
        self.estimate = estimate
        self._position: list[int] = [-1] * self.slots
        self._held: list[Estimate | None] = [None] * self.slots
        self._orders: dict[int, list[int]] = {}

    def _segment_at(self, position: int) -> int:
        """The segment at a position of the walk."""
        if self.slots == len(self.segments):
            return self.segments[position]
        lap, place = divmod(position, len(self.segments))
        if lap not in self._orders:
            generator = torch.Generator().manual_seed(mixed_seed(*self.seed, lap))
            self._orders = {lap: torch.randperm(len(self.segments), generator=generator).tolist()} | (
                {lap - 1: self._orders[lap - 1]} if lap - 1 in self._orders else {}
            )
        return self.segments[self._orders[lap][place]]

    def at(self, step: int) -> list[Estimate]:
        """The estimates of all slots at a step; what is not there yet is computed."""
        whole = self.slots == len(self.segments)
        renewals = 0 if whole else step // (self.every * self.group) * self.group
        latest = self.slots + renewals  # positions walked so far
        wanted = [latest - 1 - (latest - 1 - slot) % self.slots for slot in range(self.slots)]
        stale = sorted(
            (wanted[slot], slot) for slot in range(self.slots) if self._position[slot] != wanted[slot]
        )
        for _, members in groupby(stale, lambda pair: pair[0] // self.group):
            together = list(members)
            estimates = self.estimate([self._segment_at(position) for position, _ in together])
            for (position, slot), made in zip(together, estimates, strict=True):
                self._position[slot], self._held[slot] = position, made
        return self._held
