"""Seeds of independent random number streams, derived from several integers."""

from __future__ import annotations

import torch

# Purpose of a random number stream: one of the integers that its seed is derived from.
SEED_STORE = 1  # order of the segments in the estimate store
SEED_POOL_DRAW = 2  # pool indices of the items of a batch
SEED_BATCH = 3  # augmentation of a whole batch: change of speed, equalisers
SEED_ITEM = 4  # segments, offsets and level ratio of one item
SEED_MIXED_STREAM = 5  # stream that a batch is drawn from
SEED_FRAMES = 6  # frames of the clustering loss
SEED_DROPOUT = 8


def mixed_seed(*numbers: int) -> int:
    """Derive one seed from several integers; neighbours give unrelated ones (splitmix64, Steele 2014)."""
    state = 0
    for number in numbers:
        state = (state ^ (number & (2**64 - 1))) + 0x9E3779B97F4A7C15 & (2**64 - 1)
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & (2**64 - 1)
        state ^= state >> 31
    return state & (2**63 - 1)


def derived_generator(*numbers: int) -> torch.Generator:
    """Return a generator on the CPU, seeded with `mixed_seed` of the integers."""
    return torch.Generator().manual_seed(mixed_seed(*numbers))
