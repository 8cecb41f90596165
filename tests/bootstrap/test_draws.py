"""Random choices of remixes: seeds, uniform numbers, and what is drawn with them."""

from collections import Counter

import numpy as np

import torchprim as tp
from torchprim.bootstrap.draws import draw
from torchprim.bootstrap.seeds import mixed_seed, uniform_numbers


def test_seeds_are_unrelated():
    seeds = {mixed_seed(a, b) for a in range(30) for b in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_uniform_numbers_are_those_of_the_item():
    drawn = uniform_numbers(5, np.arange(4000), 6)
    assert (uniform_numbers(5, np.array([3999, 2]), 6) == drawn[[3999, 2]]).all()
    assert drawn.min() >= 0 and drawn.max() < 1
    for column in drawn.T:
        counts = np.histogram(column, 20, (0, 1))[0]
        assert ((counts - 200) ** 2 / 200).sum() < 50  # chi-squared of 19 degrees: 1 in 7,000
    correlation = np.corrcoef(
        np.concatenate([drawn[:-1], drawn[1:], uniform_numbers(6, np.arange(3999), 6)], 1).T
    )
    assert np.abs(correlation - np.eye(18)).max() < 0.07
    assert (uniform_numbers(5, np.array([-1, 2**62]), 3) < 1).all()


def test_draws_are_uniform():
    """Vocals of any slot, accompaniment of any slot with another song, starts at any frame."""
    songs, starts = np.array([4, 1, 4, 9, 1, 4]), np.array([1, 2, 3, 4, 5, 6])
    draws = draw(tp.RemixSettings(ratio=(-1.0, 3.0)), 0, np.arange(60_000), songs, starts)
    accompaniment, vocals = draws.slots.T
    assert not draws.coherent.any() and (songs[vocals] != songs[accompaniment]).all()
    pairs = Counter(zip(vocals.tolist(), accompaniment.tolist(), strict=True))
    for (first, second), count in pairs.items():
        others = (songs != songs[first]).sum()
        assert songs[first] != songs[second] and abs(count - 10_000 / others) < 5 * (10_000 / others) ** 0.5
    assert len(pairs) == sum((songs != song).sum() for song in songs)
    for slots, first in zip(draws.slots.T, draws.starts.T, strict=True):
        assert (first < starts[slots]).all()
        counts = np.bincount(first[slots == 5], minlength=6)
        assert np.abs(counts - counts.mean()).max() < 5 * counts.mean() ** 0.5
    assert -1 <= draws.ratio.min() < -0.99 and 2.99 < draws.ratio.max() < 3
    assert abs(draws.ratio.mean() - 1) < 0.03


def test_coherent_draws_are_of_one_excerpt():
    songs, starts = np.array([0, 1, 2]), np.array([7, 7, 7])
    draws = draw(tp.RemixSettings(coherent=0.3), 0, np.arange(10_000), songs, starts)
    assert abs(draws.coherent.mean() - 0.3) < 0.03
    for column in (draws.slots, draws.starts):
        assert (column[draws.coherent, 0] == column[draws.coherent, 1]).all()
    one_song = draw(tp.RemixSettings(), 0, np.arange(100), np.array([3, 3]), np.array([7, 7]))
    assert one_song.coherent.all() and set(one_song.slots.flat) == {0, 1}
