"""Random choices of a batch of remixes: segments, excerpts and levels, all items at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from torchprim.bootstrap.seeds import uniform_numbers
from torchprim.bootstrap.settings import RemixSettings


class Draws(NamedTuple):
    """Choices of B items; columns are accompaniment and vocals."""

    slots: NDArray[np.integer]  # (B, 2), of the store
    starts: NDArray[np.integer]  # (B, 2), first frame of the excerpt in its segment
    ratio: NDArray[np.floating]  # (B,) vocals to accompaniment, dB
    coherent: NDArray[np.bool_]  # (B,) both of one excerpt


def draw(
    settings: RemixSettings,
    seed: int,
    items: NDArray[np.integer],
    songs: NDArray[np.integer],
    starts: NDArray[np.integer],
) -> Draws:
    """Draw the choices of some items, each a function of the seed, its number and the store's content.

    The vocals are of any slot, the accompaniment of any slot with another song; excerpts start at any frame.

    Args:
        settings: of the remixes.
        seed: from `mixed_seed`.
        items: `(B,)`, number of each item.
        songs: `(slots,)`, song of each slot.
        starts: `(slots,)`, number of frames at which an excerpt can start.

    Example:
        >>> import numpy as np, torchprim as tp
        >>> from torchprim.bootstrap.draws import draw
        >>> songs, starts = np.array([0, 0, 1]), np.array([5, 5, 5])
        >>> draws = draw(tp.RemixSettings(), 0, np.arange(4), songs, starts)
        >>> bool((songs[draws.slots[:, 0]] != songs[draws.slots[:, 1]]).all())
        True
    """
    of_vocals, of_other, of_start, of_other_start, of_pair, of_ratio = uniform_numbers(seed, items, 6).T
    vocals = _below(songs.size, of_vocals)
    # Sorted by song, the slots of the vocals' song lie together: `first` to `last`.
    order = np.argsort(songs, kind="stable")
    first, last = (np.searchsorted(songs[order], songs[vocals], side) for side in ("left", "right"))
    others = songs.size - (last - first)
    other = _below(others, of_other)
    other += np.where(other >= first, last - first, 0)
    # A small store may hold a single song for a while; then the pair is coherent.
    coherent = (of_pair < settings.coherent) | (others == 0)
    accompaniment = np.where(coherent, vocals, order[np.minimum(other, songs.size - 1)])
    start = _below(starts[vocals], of_start)
    other_start = np.where(coherent, start, _below(starts[accompaniment], of_other_start))
    low, high = settings.ratio
    return Draws(
        np.stack([accompaniment, vocals], 1),
        np.stack([other_start, start], 1),
        low + (high - low) * of_ratio,
        coherent,
    )


def _below(limit: int | NDArray[np.integer], uniform: NDArray[np.floating]) -> NDArray[np.integer]:
    """Return whole numbers in [0, limit) from uniform ones in [0, 1)."""
    return (limit * uniform).astype(np.int64)
