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


def test_channels_are_resampled_as_the_audio_is_and_their_spectrum_is_cached(generator):
    stereo = torch.randn(3, 2, 9000, generator=generator)
    mixture = tp.Mixture(stereo.mean(-2), 48000, channels=stereo)
    torch.testing.assert_close(mixture.channels.mean(-2), mixture.audio)
    assert mixture.channel_spectrum() is mixture.channel_spectrum()
    assert torch.equal(mixture.channel_spectrum(), tp.stft(tp.resample(stereo, 48000, 44100)))
    mono = tp.Mixture(stereo.mean(-2), 48000)
    assert mono.channels is None and mono.channel_spectrum() is None


@pytest.mark.parametrize(
    ("channels", "error"),
    [
        (torch.zeros(2, 90), r"channels must have shape \(..., C, T\) for audio \(100,\), got \(2, 90\)"),
        (torch.zeros(3, 2, 100), r"channels must have shape .* got \(3, 2, 100\)"),
        (
            torch.zeros(2, 100).double(),
            "channels must be torch.float32 on cpu as audio is, got torch.float64",
        ),
        (torch.zeros(100), "channels must have shape"),
        (torch.full((2, 100), torch.nan), "channels must be finite"),
    ],
)
def test_channels_that_are_not_those_of_the_audio(channels, error):
    with pytest.raises(ValueError, match=error):
        tp.Mixture(torch.zeros(100), 44100, channels=channels)


def test_only_the_spectrum_of_the_stems_is_kept(generator):
    stereo = torch.randn(2, 9000, generator=generator)
    for mixture in (tp.Mixture(stereo.mean(0), 44100), tp.Mixture(stereo.mean(0), 44100, channels=stereo)):
        mixture.magnitude()
        kept = mixture.spectrum() if mixture.channels is None else mixture.channel_spectrum()
        mixture.keep_spectra()
        held = [x for x in mixture._cache.values() if isinstance(x, torch.Tensor) and x.is_complex()]
        assert len(held) == 1 and held[0] is kept
