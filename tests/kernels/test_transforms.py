"""`torch.func`, forward mode and second derivatives of operators: they work, or one line says why not."""

import pytest
import torch
from torch.autograd import forward_ad

import torchprim as tp

NO_FORWARD = r"^torchprim::\w+ has no forward-mode derivative \(jvp, jacfwd\); use reverse mode: backward"
NO_SECOND = r"^torchprim::\w+_backward has no derivative: gradients are of first order"
RATE = 44100
NAMES = (
    "hpss",
    "ft2d",
    "long_hpss",
    "melody",
    "soft melody",
    "repet_sim",
    "spatial",
    "soft_assignment",
    "stft",
)


def recording(items=2):
    return torch.randn(items, 3000, generator=torch.Generator().manual_seed(0))


def functions():
    """Name -> (function of a tensor of any leading dimensions, the tensor)."""
    audio = recording()
    magnitude = tp.stft(audio).abs()
    beside = tp.stft(recording(4).unflatten(0, (2, 2))).mul(1j)
    return {
        "hpss": (tp.hpss, magnitude),
        "ft2d": (lambda a: tp.ft2d(a, (1, 3)).repetition, magnitude),
        "long_hpss": (tp.long_hpss, audio),
        "melody": (tp.melody, magnitude),
        "soft melody": (lambda a: tp.melody(a, soft=True), magnitude),
        "repet_sim": (lambda a: tp.repet_sim(a, 0.02), magnitude),
        "spatial": (lambda m: tp.spatial(beside[0].expand(*m.shape[:-2], -1, -1, -1), m), magnitude / 1e3),
        "soft_assignment": (lambda a: tp.soft_assignment([a / 50, a / 100]), magnitude / 100),
        "stft": (lambda x: tp.istft(tp.stft(x).abs() * tp.stft(x), length=3000), audio),
    }


@pytest.fixture(scope="module")
def calls():
    return functions()


def test_the_names_are_those_of_the_functions(calls):
    assert set(NAMES) == set(calls)


@pytest.mark.parametrize("name", NAMES)
def test_vmap_is_the_batch(calls, name):
    function, x = calls[name]
    torch.testing.assert_close(torch.func.vmap(function)(x), function(x))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_torch_func_are_those_of_backward(calls, name):
    function, x = calls[name]

    def total(x):
        result = function(x)
        return (result * torch.linspace(0, 1, result.shape[-1])).sum()

    leaf = x.clone().requires_grad_()
    total(leaf).backward()
    assert leaf.grad.any()
    torch.testing.assert_close(torch.func.grad(total)(x), leaf.grad)
    each = torch.func.vmap(torch.func.grad(total))(x)
    torch.testing.assert_close(each, leaf.grad)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "repet_sim"])  # has no operator
def test_forward_mode_is_an_error(calls, name):
    function, x = calls[name]
    tangent = torch.ones_like(x)
    with pytest.raises(RuntimeError, match=NO_FORWARD):
        torch.func.jvp(function, (x,), (tangent,))
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match=NO_FORWARD):
        function(forward_ad.make_dual(x, tangent))
    with forward_ad.dual_level():
        function(x)  # no tangent: nothing is lost


def test_forward_mode_of_plain_torch_is_right(calls):
    function, x = calls["repet_sim"]
    x = x.double()
    tangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    _, forward = torch.func.jvp(function, (x,), (tangent,))
    leaf = x.clone().requires_grad_()
    cotangent = torch.rand(forward.shape, dtype=x.dtype)
    (backward,) = torch.autograd.grad(function(leaf), leaf, cotangent)
    torch.testing.assert_close((forward * cotangent).sum(), (backward * tangent).sum())


def test_a_separation_in_vmap_and_under_grad():
    separator = tp.PrimitiveSeparator("best", n_points=None)
    audio = recording()

    def confidence(x, beta):
        return separator(x, RATE, beta=beta).vocals.square().sum()

    beta = torch.tensor(2.0, requires_grad=True)
    leaf = audio[0].clone().requires_grad_()
    wanted = torch.autograd.grad(confidence(leaf, beta), (leaf, beta))
    got = torch.func.grad(confidence, argnums=(0, 1))(audio[0], beta.detach())
    torch.testing.assert_close(got, wanted)
    with pytest.raises(RuntimeError, match=NO_FORWARD):
        torch.func.jvp(lambda x: separator(x, RATE).confidence, (audio,), (audio,))


def test_second_derivatives_are_an_error(calls):
    function, x = calls["hpss"]
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(leaf).sum(), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match=NO_SECOND):
        slope.square().sum().backward()
    with pytest.raises(RuntimeError, match=NO_SECOND):
        torch.func.grad(lambda x: torch.func.grad(lambda y: function(y).sum())(x).square().sum())(x)


def test_tables_made_under_a_transform_serve_afterwards():
    """A table that is first asked for inside a transform is cached without it."""
    x = tp.stft(recording()).abs()
    settings = {"f_min": 91.0, "f_max": 913.0, "cutoff": 123.0}  # of no other test
    torch.func.grad(lambda x: tp.melody(x, **settings).sum())(x)
    torch.func.vmap(lambda x: tp.melody(x, **settings | {"f_min": 92.0}))(x)
    assert tp.melody(x, **settings).isfinite().all()
    assert torch.func.vmap(lambda x: tp.melody(x, **settings))(x).isfinite().all()
    leaf = x.clone().requires_grad_()
    tp.melody(leaf, **settings).sum().backward()
    assert leaf.grad.isfinite().all()
