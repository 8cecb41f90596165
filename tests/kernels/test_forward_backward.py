"""Marginals: reference against all paths written out, kernel against reference, and the gradients of both."""

import itertools
import math

import pytest
import torch

from tests.support.hypothesis_or_skip import given, settings, st
from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from tests.support.oracles import costs, scores, total
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.paths import forward_backward as op
from torchprim.kernels.paths.forward_backward import forward_backward
from torchprim.kernels.paths.viterbi import viterbi


def settings_of(slope, jump, switch, dtype=torch.float32, device=DEVICE):
    return [torch.tensor(x, dtype=dtype, device=device, requires_grad=True) for x in (slope, jump, switch)]


@given(
    pitches=st.integers(1, 4),
    frames=st.integers(1, 5),
    band=st.integers(0, 3),
    rest=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_forward_backward_counts_all_paths(pitches, frames, band, rest, seed):
    states = scores(pitches + rest, frames, seed=seed)
    table = costs(pitches, rest, band, 0.3, 1.5, 1.0)
    wanted = torch.zeros_like(states)
    for path in itertools.product(range(pitches + rest), repeat=frames):
        path = torch.tensor(path)
        wanted[path, torch.arange(frames)] += math.exp(total(path, states, table))
    wanted = wanted / wanted.sum(0)
    got = forward_backward(states[:pitches], states[pitches] if rest else None, band, 0.3, 1.5, 1.0)
    torch.testing.assert_close(got, wanted, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("rest", [False, True])
@pytest.mark.parametrize("slope", [0.2, 0.9])  # the second: the second pitch of the band costs a jump
def test_gradients_in_double_precision(rest, slope):
    emission = scores(2, 4, 5).requires_grad_()
    unvoiced = scores(2, 5, seed=1).requires_grad_()
    leaves = (emission, *([unvoiced] if rest else []), *settings_of(slope, 1.5, 1.0, torch.float64, "cpu"))

    def marginals(emission, *others):
        unvoiced, costs = (others[0], others[1:]) if rest else (None, others)
        return forward_backward(emission, unvoiced, 2, *costs)

    torch.autograd.gradcheck(marginals, leaves)


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


def test_single_precision_holds_over_many_frames():
    """Neither messages nor tangents drift: the same gradient as in double precision."""
    emission, weight = scores(2, 20, 800), scores(2, 20, 800, seed=1)
    gradients = []
    for dtype in (torch.float64, torch.float32):
        leaves = [emission.to(dtype, copy=True).requires_grad_(), *settings_of(0.1, 3.0, 1.0, dtype, "cpu")]
        forward_backward(leaves[0], None, 3, *leaves[1:]).backward(weight.to(dtype))
        gradients.append([leaf.grad.double() for leaf in leaves])
    for double, single in zip(*gradients, strict=True):
        assert (single - double).norm() <= 1e-4 * double.norm()


def results(emission, unvoiced, gradient, band, slope=0.05, jump=2.0, switch=1.0):
    """Compute marginals and the gradients to scores and costs."""
    leaves = [emission.detach().clone().requires_grad_()]
    if unvoiced is not None:
        leaves.append(unvoiced.detach().clone().requires_grad_())
    costs = settings_of(slope, jump, switch, device=emission.device)
    marginals = forward_backward(leaves[0], leaves[1] if unvoiced is not None else None, band, *costs)
    marginals.backward(gradient)
    return [x.cpu() for x in (marginals.detach(), *(leaf.grad for leaf in leaves + costs))]


def compare(monkeypatch, emission, unvoiced, band, tolerance=1e-5, **settings):
    states = emission.shape[1] + (unvoiced is not None)
    gradient = awkward(emission.shape[0], states, emission.shape[2], seed=3, low=-1.0).to(emission.dtype)
    on_cpu = [None if x is None else x.cpu() for x in (emission, unvoiced, gradient)]
    expected = results(*on_cpu, band, **settings)
    forbid(monkeypatch, op, "reference", "reference_gradients")
    with forced_kernels():
        got = results(emission, unvoiced, gradient, band, **settings)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=10 * tolerance)


@runs_kernels
@pytest.mark.parametrize(
    "items, pitches, frames, band, rest",
    [
        (1, 1, 1, 16, True),
        (2, 13, 6, 5, False),
        (2, 37, 4, 3, True),
        (1, 131, 3, 16, False),
        (1, 3, 9, 2, True),
    ],
)
def test_kernel_equals_reference(items, pitches, frames, band, rest, monkeypatch, poisoned):
    emission = awkward(items, pitches, frames, seed=1, low=-4.0, high=4.0)
    unvoiced = awkward(items, frames, seed=2, low=0.0, high=4.0) if rest else None
    compare(monkeypatch, emission, unvoiced, band)


@runs_kernels
def test_kernel_of_a_wide_band_equals_reference(monkeypatch, poisoned):
    """Beyond a limit the band is a loop; and steps in it that cost more than a jump."""
    from torchprim.kernels.paths import viterbi_scores_triton

    monkeypatch.setattr(viterbi_scores_triton, "UNROLLED", 2)
    compare(monkeypatch, awkward(1, 21, 3, seed=4, low=-2.0), None, 6, slope=0.45)


@runs_kernels
@pytest.mark.parametrize("rest", [False, True])
def test_kernel_where_frames_nearly_exclude_each_other(rest, monkeypatch, poisoned):
    """Every frame jumps, and a jump weighs exp(-60)."""
    emission = torch.full((1, 9, 6), -80.0, device=DEVICE)
    emission[:, torch.arange(6), torch.arange(6)] = 0
    unvoiced = torch.full((1, 6), -70.0, device=DEVICE) if rest else None
    compare(monkeypatch, emission, unvoiced, 0, jump=60.0, switch=50.0)


@runs_kernels
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_kernel_reads_half_precision(dtype, monkeypatch, poisoned):
    compare(monkeypatch, awkward(1, 9, 4, seed=5, low=-4.0).to(dtype), None, 2, tolerance=2e-3)


@runs_kernels
def test_kernel_without_gradients_to_the_costs(monkeypatch):
    emission = awkward(1, 9, 4, seed=6).clone().requires_grad_()
    forbid(monkeypatch, op, "reference", "reference_gradients", "settings_gradients")
    with forced_kernels():
        forward_backward(emission, band=2)[:, 3].sum().backward()
    assert emission.grad.abs().sum() > 0
    torch.testing.assert_close(emission.grad.sum(1), torch.zeros(1, 4, device=DEVICE), atol=1e-6, rtol=0)


@pytest.mark.parametrize("forced", [False, pytest.param(True, marks=runs_kernels)])
def test_an_empty_batch(forced):
    emission = torch.empty(2, 0, 5, 3, device=DEVICE, requires_grad=True)
    with forced_kernels() if forced else torch.enable_grad():
        marginals = forward_backward(emission)
        marginals.sum().backward()
    assert marginals.shape == emission.shape == emission.grad.shape


def test_registration():
    values = scores(2, 5, 4, dtype=torch.float32).requires_grad_()
    costs = settings_of(0.1, 2.0, 1.0, device="cpu")
    torch.library.opcheck(op._marginals, (values, *costs, 2, True))
    fixed = [x.detach() for x in (scores(2, 5, 4, seed=1, dtype=torch.float32), values, *costs)]
    for wanted in (False, True):
        torch.library.opcheck(op._marginals_backward, (*fixed, 2, True, wanted))


def test_compiles_to_one_graph():
    emission = scores(2, 5, 4, dtype=torch.float32).requires_grad_()
    (slope, _, _) = settings_of(0.1, 2.0, 1.0, device="cpu")
    compiled = torch.compile(forward_backward, fullgraph=True, backend="aot_eager")
    outputs = []
    for function in (forward_backward, compiled):
        out = function(emission, band=2, slope=slope)
        outputs.append((out, *torch.autograd.grad(out[:, 0].sum(), (emission, slope))))
    for one, other in zip(*outputs, strict=True):
        torch.testing.assert_close(one, other)


def test_what_cannot_be():
    for shape in ((0, 4), (4, 0)):
        with pytest.raises(ValueError, match=rf"one pitch and frame or more, got shape \({shape[0]}, "):
            forward_backward(torch.empty(shape))
    with pytest.raises(ValueError, match="band must be 0 or more, got -1"):
        forward_backward(torch.empty(3, 4), band=-1)
