"""`torch.compile` with its default backend, inductor, on a CPU: eager's results, forward and backward."""

import shutil

import pytest
import torch

import torchprim as tp

RATE = 44100
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(
        not (shutil.which("g++") or shutil.which("clang++")), reason="inductor needs a C++ compiler (g++)"
    ),
]


def magnitude(seed=0):
    """Return a spectrogram in the order in memory that a transform leaves: not contiguous."""
    audio = torch.randn(2, 6000, generator=torch.Generator().manual_seed(seed))
    result = tp.stft(audio).abs()
    assert not result.is_contiguous()
    return result


def audio(seed=0):
    return torch.randn(2, 6000, generator=torch.Generator().manual_seed(seed))


def spectra(channels):
    spectrum = tp.stft(channels)
    left, right = spectrum.abs()
    return tp.spatial(spectrum, left / (left + right))


def every_primitive(a):
    weight = a / (a + 1)
    background = tp.repet_sim(a, 0.02)
    repetition, modulation = tp.ft2d(a, (1, 9))
    masks = [tp.hpss(a), repetition, modulation, background, tp.melody(a), tp.melody(a, weight=weight)]
    mask = tp.soft_assignment(masks)
    return *masks, mask, *tp.confidence_measure(masks, a, n_points=None)


FUNCTIONS = {
    "primitives and clustering": (every_primitive, magnitude),
    "soft melody": (lambda a: (tp.melody(a, soft=True),), magnitude),
    "long-hpss and spatial": (lambda x: (tp.long_hpss(x), spectra(x)), audio),
    "pitch": (lambda x: tp.track_pitch(x, RATE)[1:4], audio),
}


def assert_compiled_equals_eager(function, x):
    torch._dynamo.reset()
    results = []
    for run in (function, torch.compile(function, fullgraph=True)):
        leaf = x.clone().requires_grad_()  # keeps the order in memory
        outputs = run(leaf)
        differentiable = [y for y in outputs if y.requires_grad]
        torch.autograd.backward(differentiable, [y.detach() + 0.5 for y in differentiable])
        results.append((*outputs, leaf.grad))
    for wanted, got in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    function, make = FUNCTIONS[name]
    assert_compiled_equals_eager(function, make())


def test_separator():
    separator = tp.PrimitiveSeparator("best", n_points=None)

    def separation(x):
        estimate = separator.estimate(tp.Mixture(x, RATE))
        return *separator(x, RATE)[:2], estimate.mask, *estimate.masks.values(), *estimate.confidence

    assert_compiled_equals_eager(separation, audio())
