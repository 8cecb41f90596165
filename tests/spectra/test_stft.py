"""STFT and its inverse, resampling, high-pass, and the cache of a mixture."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torchprim as tp
from torchprim.spectra.stft import masked_istft


@given(samples=st.integers(1, 5000), companion=st.booleans(), lead=st.lists(st.integers(1, 3), max_size=2))
@settings(max_examples=60, deadline=None)
def test_round_trip_of_any_length(samples, companion, lead):
    geometry = tp.Geometry(16000, 512, 128, "sqrt_hann") if companion else tp.Geometry()
    audio = torch.randn(*lead, samples, generator=torch.Generator().manual_seed(samples))
    spectrum = tp.stft(audio, geometry)
    assert spectrum.shape == (*lead, geometry.bins, geometry.frames(samples))
    back = tp.istft(spectrum, geometry, samples)
    torch.testing.assert_close(back, audio, atol=1e-5, rtol=0)


def test_stft_equals_the_definition():
    audio = np.random.default_rng(0).standard_normal(3000)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    padded = np.pad(audio, 1024)
    wanted = np.stack([np.fft.rfft(window * padded[n * 512 : n * 512 + 2048]) for n in range(6)], axis=1)
    np.testing.assert_allclose(tp.stft(torch.tensor(audio)).numpy(), wanted, atol=1e-10)


def test_dtype():
    assert tp.stft(torch.randn(3000).half()).dtype == torch.complex64
    assert tp.stft(torch.randn(3000).double()).dtype == torch.complex128


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"sample_rate": 0}, "sample_rate must be positive, got 0"),
        ({"window_length": 1}, "window_length must be a whole number at least 2, got 1"),
        ({"hop_length": 2000}, r"hop_length must be a whole number in \[1, 1024\], got 2000"),
        ({"window": "kaiser"}, "window must be 'hann' or 'sqrt_hann', got 'kaiser'"),
    ],
)
def test_bad_geometry(settings_, message):
    with pytest.raises(ValueError, match=message):
        tp.Geometry(**settings_)


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
@pytest.mark.parametrize("channels", [(), (2,)])
@pytest.mark.parametrize("window", [64, 65])
@pytest.mark.parametrize("residual", [False, True])
def test_masked_inverse_is_that_of_the_product(shape, channels, window, residual):
    geometry = tp.Geometry(window_length=window, hop_length=16)
    spectrum = tp.stft(torch.randn(*shape, *channels, 200), geometry).requires_grad_()
    mask = torch.rand(*shape, *spectrum.shape[-2:], requires_grad=True)
    gain = 1 - mask if residual else mask
    wanted = tp.istft(spectrum * (gain.unsqueeze(-3) if channels else gain), geometry, 190)
    result = masked_istft(mask, spectrum, geometry, 190, residual)
    torch.testing.assert_close(result, wanted)
    weight = torch.randn_like(wanted)
    gradients = [torch.autograd.grad((x * weight).sum(), (mask, spectrum)) for x in (result, wanted)]
    torch.testing.assert_close(*gradients)


def test_masked_inverse_has_the_type_of_the_spectrum():
    spectrum, mask = tp.stft(torch.randn(4000)), torch.rand(1025, 8) > 0.5
    for typed in (mask, mask.double()):
        result = masked_istft(typed, spectrum, tp.Geometry(), 4000)
        torch.testing.assert_close(result, tp.istft(spectrum * mask, length=4000))


def test_bad_spectrum():
    with pytest.raises(ValueError, match="spectrum must be a complex tensor"):
        tp.istft(torch.rand(1025, 4))
    with pytest.raises(ValueError, match=r"spectrum must have shape \(\.\.\., 1025, N\), got \(1024, 4\)"):
        tp.istft(torch.zeros(1024, 4, dtype=torch.cfloat))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 48000, 96000, 192000])
def test_resampling_keeps_a_tone_and_its_length(rate):
    t = torch.arange(rate) / rate
    tone = torch.sin(2 * torch.pi * 440 * t)
    resampled = tp.resample(tone, rate, 44100)
    assert resampled.shape[-1] == 44100
    back = tp.resample(resampled, 44100, rate)
    torch.testing.assert_close(back[500:-500], tone[500:-500], atol=2e-3, rtol=0)


@pytest.mark.parametrize("rate", [44099, 44100.5, 47123, 12347.25])
def test_resampling_between_odd_rates_is_cheap_and_close(rate):
    samples = round(rate)
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(samples) / rate)
    resampled = tp.resample(tone, rate, 44100)
    assert abs(resampled.shape[-1] - 44100) <= 45  # 0.1 %
    back = tp.resample(resampled, 44100, rate)[:samples]
    torch.testing.assert_close(back[500:-500], tone[500 : len(back) - 500], atol=2e-3, rtol=0)


def test_equal_rates_are_the_same_tensor():
    audio = torch.randn(5)
    assert tp.resample(audio, 44100, 44100.0) is audio
    with pytest.raises(ValueError, match="new_rate must be positive, got -1"):
        tp.resample(audio, 44100, -1)


def test_frequency_response_of_the_high_pass():
    gain = tp.high_pass(1025, 44100, 220)
    frequency = torch.arange(1025) * 44100 / 2048
    assert gain.shape == (1025, 1)
    assert (gain.flatten().diff() >= 0).all()
    assert not gain[frequency < 220 / 2**0.5].any()
    assert (gain[frequency > 220 * 2**0.5] == 1).all()
    exact = torch.sin(torch.pi / 2 * (0.5 + torch.log2(frequency[10] / 220))) ** 2
    torch.testing.assert_close(gain[10, 0], exact)
    assert torch.equal(tp.high_pass(5, 800, 200, smooth=False).flatten(), torch.tensor([0.0, 0, 1, 1, 1]))
    cutoff = torch.tensor(220.0, requires_grad=True)
    tp.high_pass(1025, 44100, cutoff).sum().backward()
    assert cutoff.grad < 0  # a higher cut-off passes less


def test_mixture_caches_and_checks():
    mixture = tp.Mixture(torch.randn(2, 8000), 16000)
    assert mixture.audio.shape == (2, 22050)
    assert mixture.spectrum() is mixture.spectrum()
    assert torch.equal(mixture.magnitude(), mixture.spectrum().abs())
    calls = []
    for _ in range(2):
        assert mixture.cached("x", lambda: calls.append(1) or 7) == 7
    assert len(calls) == 1
    for bad, message in (
        (torch.tensor([0.0, torch.nan]), "audio must be finite"),
        (torch.tensor([1]), "audio must be real and floating point"),
        (torch.zeros(2, 0), "audio must not be empty"),
        (torch.tensor(1.0), r"audio must have shape \(\.\.\., T\), got \(\)"),
    ):
        with pytest.raises(ValueError, match=message):
            tp.Mixture(bad, 44100)
