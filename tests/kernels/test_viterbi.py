"""The best path: reference against a dense textbook Viterbi, kernel against reference, bit for bit."""

import itertools

import pytest
import torch

from tests.support.hypothesis_or_skip import given, settings, st
from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from tests.support.oracles import costs, scores, total
from torchprim.kernels import register
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.paths import viterbi as op
from torchprim.kernels.paths.viterbi import viterbi


def textbook(emission, table):
    """Find the path by dense Viterbi (Rabiner 1989), of one item: emissions `(S, N)`, costs `(S, S)`."""
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
    states = scores(2, pitches + rest, frames, seed=seed)
    emission, unvoiced = states[:, :pitches], states[:, pitches] if rest else None
    path = viterbi(emission, unvoiced, band, slope, jump, switch)
    table = costs(pitches, rest, band, slope, jump, switch)
    assert path.shape == (2, frames)
    for item, got in zip(states, path, strict=True):
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
    permuted = emission.permute(3, 2, 0, 1).contiguous().permute(2, 3, 1, 0)
    assert torch.equal(viterbi(permuted), path)
    for i, j in itertools.product(range(2), range(3)):
        assert torch.equal(viterbi(emission[i, j]), path[i, j])


def both(monkeypatch, emission, unvoiced=None, **settings):
    """Find paths by the reference, on the CPU, and by the kernel, which composes 4 frames, not 32."""
    expected = viterbi(emission.cpu(), None if unvoiced is None else unvoiced.cpu(), **settings)
    from torchprim.kernels.paths import viterbi_triton

    monkeypatch.setattr(viterbi_triton, "GROUP", 4)
    forbid(monkeypatch, op, "reference")
    with forced_kernels():
        return expected, viterbi(emission, unvoiced, **settings).cpu()


@runs_kernels
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    "items, pitches, frames, band, rest",
    [
        (1, 1, 1, 16, True),
        (2, 13, 10, 5, False),
        (2, 37, 6, 3, True),
        (1, 131, 4, 16, False),
        (1, 45, 15, 10, False),
        (1, 3, 14, 2, True),
    ],
)
def test_kernel_equals_reference(items, pitches, frames, band, rest, ties, monkeypatch, poisoned):
    emission = awkward(items, pitches, frames, seed=1, low=-4.0, high=4.0)
    unvoiced = awkward(items, frames, seed=2, low=0.0, high=4.0) if rest else None
    slope = 0.01
    if ties:  # all in quarters: most frames have equal candidates
        emission, slope = (emission * 2).round() / 4, 0.25
        unvoiced = None if unvoiced is None else (unvoiced * 2).round() / 4
    expected, got = both(monkeypatch, emission, unvoiced, band=band, slope=slope, jump=2.0, switch=1.0)
    assert torch.equal(got, expected)


@runs_kernels
def test_kernel_of_a_wide_band_equals_reference(monkeypatch, poisoned):
    """Beyond a limit the band is a loop."""
    from torchprim.kernels.paths import viterbi_scores_triton

    monkeypatch.setattr(viterbi_scores_triton, "UNROLLED", 2)
    emission = awkward(1, 21, 5, seed=3, low=-4.0)
    expected, got = both(monkeypatch, emission, band=6, slope=0.3, jump=2.0)
    assert torch.equal(got, expected)


@runs_kernels
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_kernel_reads_half_precision(dtype, monkeypatch, poisoned):
    emission = awkward(1, 9, 5, seed=4, low=-8.0).to(dtype)
    expected, got = both(monkeypatch, emission, awkward(1, 5, seed=5, low=-8.0).to(dtype), band=2, jump=1.0)
    assert torch.equal(got, expected)


@runs_kernels
@pytest.mark.parametrize("impossible", ["some", "all"])
def test_impossible_states(impossible, monkeypatch, poisoned):
    emission = awkward(1, 7, 6, seed=6, low=-2.0).clone()
    emission[:, 2:] = -torch.inf
    if impossible == "all":
        emission[:, :, 3] = -torch.inf
    expected, got = both(monkeypatch, emission, band=3)
    assert torch.equal(got, expected)
    if impossible == "some":
        assert got.max() <= 1


def test_more_states_than_the_kernel_takes(monkeypatch):
    emission = scores(1, 9, 4, dtype=torch.float32)
    expected = viterbi(emission)
    monkeypatch.setattr(op, "MAX_STATES", 8)
    monkeypatch.setattr(register, "takes_kernel", lambda *_: True)
    assert torch.equal(viterbi(emission), expected)


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 5, 3)])
def test_an_empty_batch(shape):
    assert viterbi(torch.empty(shape)).shape == (*shape[:-2], 3)


@runs_kernels
def test_an_empty_batch_of_the_kernel():
    with forced_kernels():
        assert viterbi(torch.empty(0, 5, 3, device=DEVICE)).shape == (0, 3)


def test_registration():
    emission, unvoiced = scores(2, 5, 4, dtype=torch.float32), scores(2, 4, seed=1, dtype=torch.float32)
    torch.library.opcheck(op._viterbi, (emission, unvoiced, 2, 0.1, 2.0, 1.0))
    torch.library.opcheck(op._viterbi, (emission, None, 2, 0.1, 2.0, 1.0))


def test_compiles_to_one_graph():
    emission = scores(2, 5, 4, dtype=torch.float32).requires_grad_()
    compiled = torch.compile(viterbi, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(emission, band=2), viterbi(emission, band=2))


def test_what_cannot_be():
    for shape in ((0, 4), (4, 0)):
        with pytest.raises(ValueError, match=rf"one pitch and frame or more, got shape \({shape[0]}, "):
            viterbi(torch.empty(shape))
    with pytest.raises(ValueError, match="band must be 0 or more, got -1"):
        viterbi(torch.empty(3, 4), band=-1)
