"""Random choices of a batch of remixes: segments, excerpts and levels, all items at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from torchprim.bootstrap.seeds import uniform_numbers
from torchprim.bootstrap.settings import RemixSettings


class Draws(NamedTuple):
    """Choices of B items of K sources, by class: of two accompaniment, vocals."""

    slots: NDArray[np.integer]  # (B, K), of the store
    starts: NDArray[np.integer]  # (B, K), first frame of the excerpt in its segment
    ratio: NDArray[np.floating]  # (B, K - 1) of the others to the first, dB
    coherent: NDArray[np.bool_]  # (B,) all of one excerpt


def draw(
    settings: RemixSettings,
    seed: int,
    items: NDArray[np.integer],
    songs: NDArray[np.integer],
    starts: NDArray[np.integer],
    count: int = 2,
) -> Draws:
    """Draw the choices of some items, each a function of the seed, its number and the store's content.

    The last source, of two the vocals, is of any slot, every other of any slot with another song than that;
    excerpts start at any frame.

    Args:
        settings: of the remixes.
        seed: from `mixed_seed`.
        items: `(B,)`, number of each item.
        songs: `(slots,)`, song of each slot.
        starts: `(slots,)`, number of frames at which an excerpt can start.
        count: K, number of sources.

    Example:
        >>> import numpy as np, torchprim as tp
        >>> from torchprim.bootstrap.draws import draw
        >>> songs, starts = np.array([0, 0, 1]), np.array([5, 5, 5])
        >>> draws = draw(tp.RemixSettings(), 0, np.arange(4), songs, starts)
        >>> bool((songs[draws.slots[:, 0]] != songs[draws.slots[:, 1]]).all())
        True
    """
    uniform = uniform_numbers(seed, items, 3 * count)
    of_slots, of_starts, of_pair = uniform.T[:count], uniform.T[count : 2 * count], uniform[:, 2 * count]
    last = _below(songs.size, of_slots[0])
    # Sorted by song, the slots of the last source's song lie together: `first` to `end`.
    order = np.argsort(songs, kind="stable")
    first, end = (np.searchsorted(songs[order], songs[last], side) for side in ("left", "right"))
    others = songs.size - (end - first)
    # A small store may hold a single song for a while; then the sources are coherent.
    coherent = (of_pair < settings.coherent) | (others == 0)
    last_start = _below(starts[last], of_starts[0])
    slots, chosen = [], []
    for of_slot, of_start in zip(of_slots[1:], of_starts[1:], strict=True):
        other = _below(others, of_slot)
        other += np.where(other >= first, end - first, 0)
        slots.append(np.where(coherent, last, order[np.minimum(other, songs.size - 1)]))
        chosen.append(np.where(coherent, last_start, _below(starts[slots[-1]], of_start)))
    low, high = settings.ratio
    return Draws(
        np.stack([*slots, last], 1),
        np.stack([*chosen, last_start], 1),
        low + (high - low) * uniform[:, 2 * count + 1 :],
        coherent,
    )


def _below(limit: int | NDArray[np.integer], uniform: NDArray[np.floating]) -> NDArray[np.integer]:
    """Return whole numbers in [0, limit) from uniform ones in [0, 1)."""
    return (limit * uniform).astype(np.int64)
