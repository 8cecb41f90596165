"""The scans over pitches: against a dense textbook Viterbi and against all paths written out."""

import itertools
import math

import pytest
import torch

from tests.hypothesis_or_skip import given, settings, st
from torchprim.kernels.forward_backward import forward_backward
from torchprim.kernels.viterbi import viterbi


def scores(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2


def costs(pitches, rest, band, slope, jump, switch):
    """The cost of every step from row to column, straight from the definition."""
    table = torch.empty(pitches + rest, pitches + rest, dtype=torch.float64)
    for i, j in itertools.product(range(pitches), repeat=2):
        table[i, j] = min(slope * abs(i - j), jump) if abs(i - j) <= band else jump
    if rest:
        table[pitches], table[:, pitches], table[pitches, pitches] = switch, switch, 0
    return table


def total(path, emission, table):
    """The score of one path `(N,)` through emissions `(S, N)`."""
    kept = emission[path, torch.arange(len(path))].sum()
    return kept - table[path[:-1], path[1:]].sum()


def textbook(emission, table):
    """Dense Viterbi (Rabiner 1989), one item: emissions `(S, N)`, costs `(S, S)`."""
    score, sources = emission[:, 0], []
    for n in range(1, emission.shape[1]):
        best, source = (score[:, None] - table).max(0)
        sources.append(source)
        score = best + emission[:, n]
    path = [int(score.argmax())]
    for source in reversed(sources):
        path.append(int(source[path[-1]]))
    return torch.tensor(path[::-1])


@given(
    pitches=st.integers(1, 23),
    frames=st.integers(1, 17),
    band=st.integers(0, 9),
    slope=st.sampled_from([0.0, 0.1, 0.7]),
    jump=st.sampled_from([0.5, 2.0, 6.0]),
    switch=st.sampled_from([0.0, 1.0, 3.0]),
    rest=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_viterbi_is_the_dense_textbook(pitches, frames, band, slope, jump, switch, rest, seed):
    every = scores(2, pitches + rest, frames, seed=seed)
    emission, unvoiced = every[:, :pitches], every[:, pitches] if rest else None
    path = viterbi(emission, unvoiced, band, slope, jump, switch)
    table = costs(pitches, rest, band, slope, jump, switch)
    assert path.shape == (2, frames)
    for item, got in zip(every, path, strict=True):
        wanted = total(textbook(item, table), item, table)
        assert total(got, item, table) == pytest.approx(wanted.item(), abs=1e-9)  # equal paths may differ


def test_viterbi_takes_the_stated_step_of_equal_ones():
    emission = torch.zeros(5, 4)
    assert viterbi(emission, torch.zeros(4), switch=0.0).tolist() == [0, 0, 0, 0]
    assert viterbi(emission, torch.full((4,), 1.0)).tolist() == [5, 5, 5, 5]


def test_viterbi_at_half_scores_of_a_loud_song():
    """Scores far below and above 0, in float32, with leading dimensions and strides."""
    emission = scores(2, 3, 40, 60, dtype=torch.float32) * 50 - 1000
    path = viterbi(emission)
    assert path.shape == (2, 3, 60)
    turned = emission.permute(3, 2, 0, 1).contiguous().permute(2, 3, 1, 0)
    assert torch.equal(viterbi(turned), path)
    for i, j in itertools.product(range(2), range(3)):
        assert torch.equal(viterbi(emission[i, j]), path[i, j])


@given(
    pitches=st.integers(1, 4),
    frames=st.integers(1, 5),
    band=st.integers(0, 3),
    rest=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_forward_backward_counts_all_paths(pitches, frames, band, rest, seed):
    every = scores(pitches + rest, frames, seed=seed)
    table = costs(pitches, rest, band, 0.3, 1.5, 1.0)
    wanted = torch.zeros_like(every)
    for path in itertools.product(range(pitches + rest), repeat=frames):
        path = torch.tensor(path)
        wanted[path, torch.arange(frames)] += math.exp(total(path, every, table))
    wanted = wanted / wanted.sum(0)
    got = forward_backward(every[:pitches], every[pitches] if rest else None, band, 0.3, 1.5, 1.0)
    torch.testing.assert_close(got, wanted, atol=1e-12, rtol=1e-9)


def test_forward_backward_gradient():
    emission = scores(2, 4, 5).requires_grad_()
    unvoiced = scores(2, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda e, u: forward_backward(e, u, 2, 0.2, 1.5, 1.0), (emission, unvoiced)
    )


def test_forward_backward_sums_to_1_where_frames_nearly_exclude_each_other():
    emission = torch.full((30, 50), -80.0)
    emission[torch.arange(50) % 30, torch.arange(50)] = 0  # the best pitch runs away
    marginals = forward_backward(emission, jump=60.0, band=0)
    torch.testing.assert_close(marginals.sum(-2), torch.ones(50))
    assert torch.isfinite(marginals).all()


def test_marginals_agree_with_the_path_where_there_is_no_doubt():
    emission = scores(30, 40) * 20
    table = forward_backward(emission, band=30, slope=0.0)
    sure = table.amax(-2) > 0.9
    assert sure.any()
    assert torch.equal(viterbi(emission, band=30, slope=0.0)[sure], table.argmax(-2)[sure])
