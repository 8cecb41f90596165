"""Interleave several remix streams: such as one of estimates and one of true stems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import IterableDataset

from torchprim.bootstrap.batch import RemixBatch
from torchprim.bootstrap.dataset import Item, RemixDataset
from torchprim.bootstrap.remix import RemixStream
from torchprim.bootstrap.seeds import SEED_MIXED_STREAM, mixed_seed


class MixedStream:
    """Draw each batch from one of several streams; like theirs, it is a function of (seed, rank, step).

    Args:
        streams: such as one of estimates and one of true stems.
        shares: sampling probabilities of the streams up to a factor, positive.
        seed: of the draws.

    Raises:
        ValueError: for shares that are not positive, or not one a stream, or streams of other sources than
            the first.
    """

    def __init__(self, streams: Sequence[RemixStream], shares: Sequence[float], seed: int = 0) -> None:
        if len(streams) != len(shares) or not streams or min(shares) <= 0:
            raise ValueError(f"shares must be positive, one for each of {len(streams)} streams, got {shares}")
        if any(stream.sources != streams[0].sources for stream in streams):
            kinds = "; ".join(", ".join(stream.sources) for stream in streams)
            raise ValueError(f"streams must be of the same sources, got {kinds}")
        self.streams, self.seed, self.step = list(streams), seed, 0
        self.sources: tuple[str, ...] = streams[0].sources
        self.shares = np.array(shares) / sum(shares)

    def batch(self, step: int) -> RemixBatch:
        """Make the batch of a step."""
        seed = mixed_seed(self.seed, self.streams[0].rank, SEED_MIXED_STREAM, step)
        return self.streams[np.random.default_rng(seed).choice(len(self.streams), p=self.shares)].batch(step)

    def dataset(self, steps: int | None = None, pairs: bool = True) -> IterableDataset[Item]:
        """Return the streams as one dataset for a `DataLoader`, see `RemixDataset`."""
        return RemixDataset(self, steps, pairs)

    def __iter__(self) -> Iterator[RemixBatch]:
        while True:
            batch = self.batch(self.step)
            self.step += 1
            yield batch
