"""Training and validation split of songs, with the remix settings of each split."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from torchprim.bootstrap.banks.bank import Bank
from torchprim.bootstrap.labels import Labels
from torchprim.bootstrap.remix import RemixStream
from torchprim.bootstrap.selection import mixable_segments
from torchprim.bootstrap.settings import RemixSettings
from torchprim.training.ranks import Ranks


class Source(NamedTuple):
    """A bank with its teacher and labels, and its share of the training batches."""

    bank: Bank
    teacher: torch.nn.Module | None  # None: true stems
    labels: Labels | None
    quantiles: tuple[float, float]
    share: float  # 0: for validation alone


class Split(NamedTuple):
    """Training or held-out segments of one source, with their remix settings."""

    source: Source
    held_out: bool
    segments: list[int]
    settings: RemixSettings
    rank: int = 0
    world: int = 1

    def check(self) -> None:
        """Check that the segments can be remixed, before there are labels.

        Raises:
            ValueError: as for `RemixStream`.
        """
        if self.source.share > 0:
            with self._with_hint():
                shard = {"rank": self.rank, "world": self.world}
                mixable_segments(self.source.bank, self.settings, None, self.segments, **shard)

    def stream(self, seed: int) -> RemixStream:
        """Return the stream of remixes of the segments."""
        source = self.source
        with self._with_hint():
            stream = RemixStream(
                source.bank,
                source.teacher,
                self.settings,
                labels=source.labels,
                segments=self.segments,
                seed=seed,
                rank=self.rank,
                world=self.world,
            )
        stream.store.progress = self.rank == 0
        return stream

    @contextmanager
    def _with_hint(self) -> Iterator[None]:
        """Say in errors of held-out songs which option avoids them."""
        try:
            yield
        except ValueError as error:
            if not self.held_out:
                raise
            raise ValueError(f"held-out songs: {error}; --validation 0 holds none out") from error


def held_out(names: Sequence[str], share: float, seed: int) -> set[int]:
    """Draw the songs held out for validation: at least one of three or more, by a hash of seed and name.

    The same song in two banks, as a mixture and with its stems, is thus likely to be held out in both; and
    adding a song to a folder changes the split of few others.

    Args:
        names: path of each song.
        share: of the songs, in [0, 1].
        seed: of the hash.

    Returns:
        indices of the held-out songs.

    Raises:
        ValueError: for a share out of range.

    Example:
        >>> from torchprim.training.splits import held_out
        >>> len(held_out(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"], 0.2, 0)), held_out(["a"], 0.2, 0)
        (2, set())
    """
    if not 0 <= share <= 1:
        raise ValueError(f"validation must lie in [0, 1], got {share}")
    if len(names) < 3 or share == 0:
        return set()

    def digest(index: int) -> str:
        title = Path(names[index]).name.split(".")[0]
        return hashlib.sha256(f"{seed} {title}".encode()).hexdigest()

    order = sorted(range(len(names)), key=digest)
    return set(order[: min(len(names) - 2, max(1, round(share * len(names))))])


def split_songs(
    sources: Sequence[Source], validation: float, remix: RemixSettings, seed: int, ranks: Ranks
) -> list[Split]:
    """Split the songs of each source for training and, on the first rank, validation.

    A source with no share of the batches is held out as a whole.

    Args:
        sources: one a bank.
        validation: share of the songs held out.
        remix: settings of the remixes.
        seed: of the split.
        ranks: rank of this process, and world size.
    """
    splits = []
    for source in sources:
        bank, trains = source.bank, source.share > 0
        held_songs = held_out(bank.names, validation, seed) if trains else set(range(len(bank.names)))
        train = [i for i, segment in enumerate(bank.segments) if segment.song not in held_songs]
        held = [i for i, segment in enumerate(bank.segments) if segment.song in held_songs]
        settings = dataclasses.replace(remix, quantiles=source.quantiles)
        if trains:
            splits.append(Split(source, False, train, settings, ranks.rank, ranks.world))
        if held and ranks.first:
            # No augmentation, and a small store without refresh: every validation has the same remixes.
            slots = max(8, remix.slots // 4)
            plain = {"eq": 0.0, "speed": 0.0, "pool": None, "slots": slots, "every": 10**9}
            if len({bank.segments[i].song for i in held}) < 2:
                plain["coherent"] = 1.0  # a single song has no other to pair with
            splits.append(Split(source, True, held, dataclasses.replace(settings, **plain)))
    return splits
