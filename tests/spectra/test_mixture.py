"""The loudest bins of a mixture, with and without the maxima that a GPU's magnitude brings along."""

import pytest
import torch

import torchprim as tp
from tests.support.kernel_tools import DEVICE
from torchprim.kernels.spectra.magnitude import magnitude_and_maxima


@pytest.fixture
def mixture():
    return tp.Mixture(torch.randn(2, 9000, generator=torch.Generator().manual_seed(0)).to(DEVICE), 44100)


def test_loudest_is_the_largest_magnitude(mixture):
    assert (mixture.maxima() is None) == (DEVICE == "cpu")
    assert torch.equal(mixture.loudest(), mixture.magnitude().amax((-2, -1)))


def test_loudest_comes_from_the_maxima_and_sends_its_gradient_to_the_magnitude(mixture):
    spectrum = mixture.spectrum().requires_grad_()
    magnitude, maxima = magnitude_and_maxima(spectrum)
    given = tp.Mixture(mixture.audio, 44100)
    given.cached("magnitude", lambda: (magnitude.detach(), 2 * maxima))
    assert torch.equal(given.loudest(), 2 * magnitude.detach().amax((-2, -1)))
    given = tp.Mixture(mixture.audio, 44100)
    given.cached("magnitude", lambda: (magnitude, maxima))
    given.loudest().sum().backward()
    assert (torch.view_as_real(spectrum.grad).abs().amax(-1) > 0).sum() == 2
