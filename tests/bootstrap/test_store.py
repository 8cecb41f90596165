"""Store of estimates: what it holds at a step, what is estimated together, excerpts of its slots."""

import torch

from torchprim import progress
from torchprim.bootstrap.store import Estimate, RemixStore


def test_store_is_a_function_of_the_step():
    def estimate(indices):
        return [Estimate([torch.zeros(4), torch.full((4,), i / 100)]) for i in indices]

    def segments(step, store):
        held = store.at(step).tolist()
        vocals = store.excerpts(torch.arange(store.slots), torch.tensor(1), 1, 2)
        expected = torch.tensor(held)[:, None].expand(-1, 2) / 100
        torch.testing.assert_close(vocals, expected, atol=1e-4, rtol=0)
        return held

    def fresh():
        return RemixStore(range(10), 4, 3, (7, 0), estimate, 4)

    store = fresh()
    content = [segments(step, store) for step in range(60)]
    assert [segments(step, fresh()) for step in (0, 1, 17, 59)] == [content[i] for i in (0, 1, 17, 59)]
    assert content[0] == content[2] != content[3]  # one slot is refreshed every three steps
    assert sum(a != b for a, b in zip(content[2], content[3], strict=True)) == 1
    assert {s for c in content for s in c} == set(range(10))
    complete = RemixStore(range(10), 99, 3, (7, 0), estimate, 4)
    assert segments(0, complete) == segments(50, complete) == list(range(10))


def test_store_estimates_the_same_segments_together():
    """From any first step, so that a resumed run has the same rounding."""

    def estimated_groups(steps):
        groups = set()

        def estimate(indices):
            groups.add(tuple(indices))
            return [Estimate([torch.zeros(4), torch.zeros(4)]) for _ in indices]

        store = RemixStore(range(11), 5, 2, (7, 0), estimate, 4, group=3)
        for step in steps:
            store.at(step)
        return groups

    groups = estimated_groups(range(40))
    assert {len(group) for group in groups} == {3}
    for first in range(0, 40, 5):
        assert estimated_groups(range(first, 40)) <= groups


def test_filling_a_store_is_shown_and_a_refresh_is_not(capsys, monkeypatch):
    monkeypatch.setattr(progress, "FIRST", 0.0)  # seconds to the first line
    monkeypatch.setattr(progress, "EVERY", 0.0)

    def estimate(indices):
        return [Estimate([torch.zeros(4), torch.zeros(4)]) for _ in indices]

    store = RemixStore(range(11), 6, 2, (7, 0), estimate, 4, group=3)
    store.progress = True
    store.at(0)
    assert "estimate: " in (said := capsys.readouterr().err) and "6/6" in said
    store.at(6)
    RemixStore(range(11), 6, 2, (7, 0), estimate, 4).at(0)
    assert capsys.readouterr().err == ""


def test_excerpts_are_cut_from_their_slots(generator):
    """Of segments of two lengths, from any frame, at a scale of their own."""
    lengths, hop = [60, 47, 60], 4
    audio = [3 * torch.rand(2, n, generator=generator) - 1 for n in lengths]
    masks = [torch.rand(5, 1 + n // hop, generator=generator) for n in lengths]

    def estimate(indices):
        return [Estimate(audio[i], masks[i]) for i in indices]

    store = RemixStore(range(3), 3, 1, (7, 0), estimate, 60, hop)
    store.at(0)
    assert store.audio.dtype == torch.int16 and store.audio.is_contiguous()
    slots, starts = torch.tensor([[2, 1], [0, 0]]), torch.tensor([[5, 1], [0, 3]])
    both = store.excerpts(slots, starts, torch.arange(2), 40)
    assert both.shape == (2, 2, 40)
    for item, pair in enumerate(zip(slots.tolist(), starts.tolist(), strict=True)):
        for source, (slot, start) in enumerate(zip(*pair, strict=True)):
            expected = audio[slot][source, start * hop :][:40]
            torch.testing.assert_close(both[item, source], expected, atol=1e-4, rtol=0)
            strength = store.strengths(slots[:, source], starts[:, source], 9)[item]
            expected = (2 * masks[slot][:, start : start + 9] - 1).abs()
            torch.testing.assert_close(strength / 255, expected, atol=2e-3, rtol=0)
    vocals = store.excerpts(slots[:, 1], starts[:, 1], 1, 40)
    assert torch.equal(vocals, both[:, 1])


def test_store_keeps_what_its_estimates_give():
    """A store of three sources is one tensor of three tracks."""

    def estimate(indices):
        return [Estimate([torch.full((8,), k / 10 + i / 100) for k in range(3)]) for i in indices]

    store = RemixStore(range(4), 4, 1, (1,), estimate, 8)
    store.at(0)
    assert store.audio.shape == (4, 3, 8)
    cut = store.excerpts(torch.tensor([3]), torch.tensor([0]), 2, 4)
    torch.testing.assert_close(cut, torch.full((1, 4), 0.23), atol=1e-4, rtol=0)
