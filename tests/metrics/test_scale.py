"""SD-SDR, SI-SDR, SNR and the two baselines, against closed forms and a float64 NumPy oracle."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torchprim as tp

METRICS = ["snr", "si_sdr", "sd_sdr"]


def oracle(name, s, e):
    """The definitions, one signal at a time, in NumPy."""
    s, e = (np.asarray(x, np.float64) - np.asarray(x, np.float64).mean() for x in (s, e))
    a = (s @ e) / (s @ s)
    if name == "snr":
        return 10 * math.log10((s @ s) / ((s - e) @ (s - e)))
    if name == "sd_sdr":
        return oracle("snr", s, e) + 20 * math.log10(abs(a))
    return 10 * math.log10(a**2 * (s @ s) / ((e - a * s) @ (e - a * s)))


def pair(*shape, seed=0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    s = torch.randn(*shape, generator=g, dtype=dtype)
    return s, 0.8 * s + 0.3 * torch.randn(*shape, generator=g, dtype=dtype)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("shape", [(3,), (4,), (101,), (2, 3, 1000)])
def test_equals_the_definition(name, shape):
    s, e = pair(*shape)
    got = getattr(tp, name)(s + 5.0, e - 2.0)  # the means do not matter
    want = [
        oracle(name, (x + 5.0).numpy(), (y - 2.0).numpy())
        for x, y in zip(s.reshape(-1, shape[-1]), e.reshape(-1, shape[-1]), strict=True)
    ]
    assert got.shape == shape[:-1] and got.dtype == torch.float64
    # float32 rounds `s + 5`, which the oracle sees too: so the comparison stays exact.
    np.testing.assert_allclose(got.reshape(-1).numpy(), want, atol=1e-6)


def test_closed_forms():
    t = torch.arange(4000, dtype=torch.float64)
    s, n = torch.sin(2 * math.pi * t / 40), torch.cos(2 * math.pi * t / 40)  # orthogonal, of one energy
    assert tp.si_sdr(s, s + 0.1 * n).item() == pytest.approx(20.0, abs=1e-6)
    assert tp.si_sdr(s, 7.0 * (s + 0.1 * n)).item() == pytest.approx(20.0, abs=1e-6)
    assert tp.snr(s, s + 0.1 * n).item() == pytest.approx(20.0, abs=1e-6)
    assert tp.sd_sdr(s, s + 0.1 * n).item() == pytest.approx(20.0, abs=1e-6)
    assert tp.snr(s, 2.0 * s).item() == pytest.approx(0.0, abs=1e-6)
    assert tp.sd_sdr(s, 2.0 * s).item() == pytest.approx(20 * math.log10(2), abs=1e-6)
    assert tp.sd_sdr(s, 0.5 * s).item() == pytest.approx(0.0, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 3, 17, 256]), st.floats(-3, 3))
def test_sd_sdr_is_never_above_si_sdr(seed, length, gain):
    s, e = pair(length, seed=seed, dtype=torch.float64)
    assert tp.sd_sdr(s, gain * e) <= tp.si_sdr(s, gain * e) + 1e-9


@pytest.mark.parametrize("name", METRICS)
def test_precision_does_not_depend_on_the_input(name):
    metric = getattr(tp, name)
    s, e = pair(2, 300_000)
    torch.testing.assert_close(metric(s, e), metric(s.double(), e.double()), atol=1e-9, rtol=0)
    half = metric(s.half(), e.half())
    torch.testing.assert_close(half, metric(s.half().double(), e.half().double()), atol=1e-9, rtol=0)


@pytest.mark.parametrize("constant", [0.0, 0.3, 1e-8])
def test_silence(constant):
    s, e = pair(1000)
    silent = torch.full((1000,), constant)
    for metric in (tp.snr, tp.sd_sdr, tp.si_sdr):
        assert math.isnan(metric(silent, e)) and math.isnan(metric(silent, silent))
        assert metric(s, s) > 250 or metric(s, s) == math.inf
    assert tp.snr(s, s) == math.inf and tp.sd_sdr(s, s) == math.inf
    assert tp.snr(s, silent).item() == pytest.approx(0, abs=1e-12)
    assert tp.sd_sdr(s, silent) == -math.inf and tp.si_sdr(s, silent) == -math.inf


@pytest.mark.parametrize("name", METRICS)
def test_gradient(name):
    metric = getattr(tp, name)
    s, e = pair(2, 20, dtype=torch.float64)
    assert torch.autograd.gradcheck(metric, (s.requires_grad_(), e.requires_grad_()))


@pytest.mark.parametrize("name", METRICS)
def test_gradient_is_finite_where_an_item_is_silent(name):
    s, e = pair(4, 50)
    s[0], e[1], e[2] = 0.0, 0.0, s[2]
    e.requires_grad_()
    getattr(tp, name)(s, e).nan_to_num(0, 0, 0).sum().backward()
    assert e.grad.isfinite().all() and e.grad[3].abs().sum() > 0


def test_leading_dimensions_broadcast():
    s, e = pair(3, 200)
    assert tp.sd_sdr(s[0], e).shape == (3,)
    torch.testing.assert_close(tp.sd_sdr(s[0], e)[1], tp.sd_sdr(s[0], e[1]))


@pytest.mark.parametrize("name", METRICS)
def test_bad_arguments_are_named(name):
    metric = getattr(tp, name)
    s, e = pair(3, 20)
    with pytest.raises(ValueError, match=r"estimate .*19 samples"):
        metric(s, e[:, :19])
    with pytest.raises(ValueError, match=r"estimate .*\(2, 20\)"):
        metric(s, e[:2])
    with pytest.raises(ValueError, match="reference must be real"):
        metric(s.to(torch.complex64), e)
    with pytest.raises(ValueError, match="estimate must be finite"):
        metric(s, e / 0)
    with pytest.raises(ValueError, match="reference must not be empty"):
        metric(s[:, :0], e[:, :0])


def test_ideal_ratio_mask():
    v, a = torch.randn(2, 5000), torch.randn(2, 5000)
    geometry = tp.Geometry(16000, 512, 128, "sqrt_hann")
    mask = tp.ideal_ratio_mask(v, a, geometry)
    assert mask.shape == (2, 257, 40) and mask.min() >= 0 and mask.max() <= 1
    torch.testing.assert_close(mask, 1 - tp.ideal_ratio_mask(a, v, geometry))
    torch.testing.assert_close(mask[1], tp.ideal_ratio_mask(v[1], a[1], geometry))
    assert tp.ideal_ratio_mask(torch.zeros(3000), torch.zeros(3000)).eq(0).all()
    with pytest.raises(ValueError, match="accompaniment must have the shape"):
        tp.ideal_ratio_mask(v, a[:, :40])


def test_ideal_ratio_mask_separates_what_does_not_overlap():
    t = torch.arange(44100) / 44100
    v, a = torch.sin(2 * math.pi * 2000 * t), torch.sin(2 * math.pi * 300 * t)
    estimate = tp.istft(tp.ideal_ratio_mask(v, a) * tp.stft(v + a), length=44100)
    assert tp.sd_sdr(v, estimate) > 30


def test_null_mask():
    mask = tp.null_mask()
    assert mask.shape == (1025, 1) and sorted(mask.unique().tolist()) == pytest.approx([0.0, 0.7])
    frequency = torch.arange(1025) * 44100 / 2048
    assert torch.equal(mask[:, 0] > 0, frequency >= 250)
    assert tp.null_mask(like=torch.empty(0, dtype=torch.float64)).dtype == torch.float64
