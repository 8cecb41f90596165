"""Seeds of independent random number streams, derived from several integers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

# Purpose of a random number stream: one of the integers that its seed is derived from.
SEED_STORE = 1  # order of the segments in the estimate store
SEED_POOL_DRAW = 2  # pool indices of the items of a batch
SEED_BATCH = 3  # augmentation of a whole batch: change of speed, equalisers
SEED_ITEM = 4  # segments, offsets and level ratio of one item
SEED_MIXED_STREAM = 5  # stream that a batch is drawn from
SEED_FRAMES = 6  # frames of the clustering loss
SEED_DROPOUT = 8

_STEP = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def mixed_seed(*numbers: int) -> int:
    """Derive one seed from several integers; neighbours give unrelated ones (splitmix64, Steele 2014)."""
    state = 0
    for number in numbers:
        state = (state ^ (number & (2**64 - 1))) + _STEP & (2**64 - 1)
        state = (state ^ (state >> 30)) * _FACTORS[0] & (2**64 - 1)
        state = (state ^ (state >> 27)) * _FACTORS[1] & (2**64 - 1)
        state ^= state >> 31
    return state & (2**63 - 1)


def derived_generator(*numbers: int) -> torch.Generator:
    """Return a generator on the CPU, seeded with `mixed_seed` of the integers."""
    return torch.Generator().manual_seed(mixed_seed(*numbers))


def uniform_numbers(seed: int, items: NDArray[np.integer], count: int) -> NDArray[np.float64]:
    """Draw uniform numbers of each item: a function of the seed and the item's number alone.

    Number k of an item is output k of splitmix64, seeded with the seed and the item.

    Args:
        seed: from `mixed_seed`.
        items: `(B,)`, whole numbers.
        count: numbers of each.

    Returns:
        `(B, count)` in [0, 1); times a whole number and rounded down, below that number.

    Example:
        >>> import numpy as np
        >>> from torchprim.bootstrap.seeds import uniform_numbers
        >>> first, second = uniform_numbers(3, np.array([7, 8]), 2), uniform_numbers(3, np.array([8]), 2)
        >>> bool((first[1] == second[0]).all()), first.shape
        (True, (2, 2))
    """
    states = _mix(np.uint64(seed) ^ _mix(items.astype(np.uint64) + np.uint64(_STEP)))
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_STEP)
    return (_mix(states[:, None] + steps) >> np.uint64(11)) * 2.0**-53


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble the bits of each number: the output function of splitmix64."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_FACTORS[0])
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_FACTORS[1])
    return state ^ (state >> np.uint64(31))
