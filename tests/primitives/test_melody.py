"""Salience, comb and the mask of the melody."""

import math

import numpy as np
import pytest
import torch

import torchprim as tp
from tests.support.oracles import comb_salience, harmonic_sum, voice
from torchprim.kernels.salience.salience_inputs import peaks
from torchprim.primitives.pitch.grid import PitchGrid
from torchprim.primitives.pitch.harmonic_comb import harmonic_comb
from torchprim.primitives.pitch.salience import a_weighting, log_salience
from torchprim.spectra.stft import Geometry

RATE = 44100
BIN = RATE / 2048


def spectrum(audio, geometry=None):
    return tp.stft(audio, geometry).abs()


@pytest.mark.parametrize("frequency", [40.0, 40.3, 40.5, 41.8])  # in bins
def test_peaks_are_interpolated_between_bins(frequency):
    t = torch.arange(RATE) / RATE
    position, height = peaks(spectrum(torch.sin(2 * math.pi * frequency * BIN * t))[:, 40:50])
    best = height[:, 4].argmax()
    assert position[best, 4].item() == pytest.approx(frequency, abs=0.06)
    assert (height[:, 4] > 0.01 * height[:, 4].max()).sum() == 1


def test_a_weighting_of_the_standard():
    """0 dB at 1 kHz, and the values of IEC 61672 elsewhere."""
    level = 20 * torch.log10(a_weighting(torch.tensor([1000.0, 100.0, 31.62, 10000.0])))
    torch.testing.assert_close(level, torch.tensor([0.0, -19.1, -39.4, -2.5]), atol=0.1, rtol=0)


def test_saliences_by_definition():
    """S2 in all frames, S1 in one, against their sums in NumPy."""
    magnitude = torch.rand(300, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    grid = PitchGrid(300, BIN, 80.0, 400.0)
    pitches = grid.frequencies(magnitude).numpy()

    def lobe(x):
        x = np.abs(x)
        inside = np.where(np.isclose(x, 1), 0.5, np.sinc(x) / np.where(np.isclose(x, 1), 1, 1 - x**2))
        return np.where(x < 2, inside, 0)

    k = np.arange(300)
    weighted = magnitude.numpy() * a_weighting(torch.tensor(k * BIN)).numpy()[:, None]
    level = np.sqrt(weighted + 1e-6) - 1e-3
    rows = []
    for f in pitches / BIN:
        comb = sum(
            0.9 ** (h - 1) * (lobe(k - h * f) - 0.3 * (lobe(k - (h - 0.5) * f) + lobe(k - (h + 0.5) * f)))
            for h in range(1, 21)
        )
        rows.append(np.maximum(comb @ level / comb[comb > 0].sum(), 0))
    rows = np.stack(rows)
    wanted = np.stack([rows[:, max(0, n - 2) : n + 3].mean(1) for n in range(7)], 1)
    got = comb_salience(magnitude, grid)
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-9)

    position, height = (x.numpy()[:, 3] for x in peaks(torch.tensor(weighted[: int(4500 / BIN) + 2])))
    height = np.where(height > 0.01 * height.max(), height, 0)
    wanted = np.zeros(len(pitches))
    for p, a in zip(position[height > 0] * BIN, height[height > 0], strict=True):
        cents = round(120 * math.log2(p / 80)) * 10
        if p < 80 * 2 ** (-1 / 240) or cents > 1200 * math.log2(4500 / 80):
            continue
        for h in range(1, 21):
            semitones = np.abs(cents - 1200 * math.log2(h) - 10 * np.arange(len(pitches))) / 100
            g = np.where(semitones < 1, np.cos(math.pi / 2 * semitones) ** 2, 0)
            wanted += 0.9 ** (h - 1) * a**1.1 * g
    repeated = magnitude[:, 3:4].expand(-1, 3)  # equal frames: 1 - 0.3 is left over their median
    got = harmonic_sum(repeated, grid)[:, 0] / 0.7
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("f0", [110.0, 185.0, 300.0, 523.0, 880.0])
def test_salience_is_highest_at_the_pitch(f0):
    grid = PitchGrid(1025, BIN)
    strength = log_salience(spectrum(voice(f0, vibrato=0)) / 100, grid)
    best = grid.frequencies()[strength[:, 20:-20].argmax(0)]
    assert (1200 * torch.log2(best / f0)).abs().max() < 40


def test_comb_by_definition():
    mask = harmonic_comb(torch.tensor([200.0, 350.0]), torch.tensor([1.0, 0.5]), 1025, BIN, 32.0, 3)
    f = torch.arange(1025) * BIN
    for n, (f0, height) in enumerate(((200, 1.0), (350, 0.5))):
        distance = torch.stack([(f - h * f0).abs() for h in (1, 2, 3)]).amin(0)
        torch.testing.assert_close(mask[:, n], height * torch.exp(-0.5 * (distance / 32) ** 2))


def test_a_comb_has_as_many_teeth_as_it_is_told():
    comb = harmonic_comb(torch.tensor([100.0]), torch.tensor([0.8]), 60, 10.0, 5.0, n_harmonics=3)[:, 0]
    assert comb[[10, 20, 30]].tolist() == pytest.approx([0.8] * 3)
    assert comb[[15, 25]].max() < 1e-8 and comb[40] < 1e-8  # no fourth tooth


def test_comb_gradient():
    f0 = torch.tensor([150.0, 333.0], dtype=torch.float64, requires_grad=True)
    height = torch.tensor([0.3, 0.9], dtype=torch.float64, requires_grad=True)
    width = torch.tensor(30.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, h, w: harmonic_comb(f, h, 40, BIN, w), (f0, height, width))


@pytest.mark.parametrize(
    ("rate", "geometry"), [(RATE, Geometry()), (16000, Geometry(16000, 512, 128, "sqrt_hann"))]
)
def test_mask_separates_a_voice_from_bass_and_drums(rate, geometry):
    sung = voice(330.0, rate=rate)
    t = torch.arange(len(sung)) / rate
    noise = torch.randn(len(sung), generator=torch.Generator().manual_seed(0))
    other = 0.1 * torch.sin(2 * math.pi * 65 * t) + 0.2 * noise * torch.exp(-60 * (t % 0.5))
    magnitude = spectrum(sung + other, geometry)
    mask = tp.melody(magnitude, cutoff=220, sample_rate=rate)
    estimate = tp.istft(tp.stft(sung + other, geometry) * mask, geometry, len(sung))
    assert tp.sd_sdr(sung, estimate) > tp.sd_sdr(sung, sung + other) + 6


@pytest.mark.parametrize("soft", [False, True])
def test_powers_of_two_leave_the_mask_unchanged(soft):
    magnitude = spectrum(voice(250.0, 0.5))
    mask = tp.melody(magnitude, soft=soft)
    assert torch.equal(tp.melody(magnitude * 2.0**-9, soft=soft), mask)
    assert torch.equal(tp.melody(magnitude * 2.0**9, soft=soft), mask)


def test_a_given_loudest_bin_is_the_level():
    magnitude = spectrum(voice(250.0, 0.5))
    loudest = magnitude.amax((-2, -1))
    assert torch.equal(tp.melody(magnitude, loudest=loudest), tp.melody(magnitude))
    assert torch.equal(tp.melody(0.5 * magnitude, loudest=0.5 * loudest), tp.melody(magnitude))
    assert not torch.equal(tp.melody(magnitude, loudest=1e6 * loudest), tp.melody(magnitude))


def test_batch_equals_loop_and_leading_dimensions():
    magnitude = torch.stack([spectrum(voice(f, 0.3)) for f in (150.0, 220.0, 330.0, 500.0)])
    weight = torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(1))
    together = tp.melody(magnitude.reshape(2, 2, *magnitude.shape[1:]), weight=weight.reshape(2, 2, 1025, -1))
    for i in range(4):
        alone = tp.melody(magnitude[i], weight=weight[i])
        torch.testing.assert_close(together[i // 2, i % 2], alone, atol=1e-5, rtol=0)
    assert tp.melody(magnitude.half()).dtype == torch.float32
    assert tp.melody(magnitude.double()).dtype == torch.float64


def test_silence_and_single_frames():
    assert not tp.melody(torch.zeros(1025, 9)).any()
    for shape in ((1025, 1), (3, 4), (1, 1), (2, 2)):
        mask = tp.melody(torch.rand(shape))
        assert mask.shape == shape
        assert torch.isfinite(mask).all()
    magnitude = spectrum(voice(220.0, 0.5))
    magnitude[:, 20] = 0
    assert not tp.melody(magnitude)[:, 20].any()


def test_soft_mask_has_a_gradient_and_is_near_the_hard_one():
    magnitude = spectrum(voice(220.0, 0.4)).requires_grad_()
    soft = tp.melody(magnitude, soft=True)
    (soft * magnitude).sum().backward()
    assert torch.isfinite(magnitude.grad).all()
    assert magnitude.grad.any()
    assert (soft - tp.melody(magnitude.detach())).abs()[:, 5:-5].mean() < 0.15
    silent = torch.zeros(1025, 6, requires_grad=True)
    tp.melody(silent, soft=True).sum().backward()
    assert torch.isfinite(silent.grad).all()


def test_gradient_in_double_precision():
    """On a small grid, end to end."""
    magnitude = torch.rand(24, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 0.1
    weight = torch.rand(24, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) + 0.1

    def mask(scale, weight):
        return tp.melody(magnitude * scale, 100.0, 200.0, soft=True, weight=weight, sample_rate=4000)

    scale = torch.linspace(0.9, 1.1, 24, dtype=torch.float64)[:, None].requires_grad_()
    assert torch.autograd.gradcheck(mask, (scale, weight.requires_grad_()), atol=1e-4, eps=1e-7)


def test_tables_cached_in_inference_mode_serve_with_gradients():
    with torch.inference_mode():
        tp.melody(torch.rand(77, 5), sample_rate=8000)
    magnitude = torch.rand(77, 5, requires_grad=True)
    tp.melody(magnitude, soft=True, sample_rate=8000).sum().backward()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"f_min": 500.0, "f_max": 300.0}, "f_min and f_max must satisfy"),
        ({"f_max": 9000.0, "sample_rate": 16000}, "got 80.0 and 9000.0"),
        ({"f_min": 0.0}, "got 0.0"),
        ({"sample_rate": 2000}, "half the sample rate"),
        ({"width": 0.0}, "width must be positive, got 0.0"),
        ({"weight": -torch.ones(65, 4)}, "weight must not be negative"),
        ({"weight": torch.ones(64, 4)}, r"weight must have shape \(65, 4\), got \(64, 4\)"),
        ({"loudest": torch.ones(1)}, r"loudest must have shape \(\), got \(1,\)"),
        ({"cutoff": -1.0}, "cutoff"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        tp.melody(torch.rand(65, 4), **arguments)
    with pytest.raises(ValueError, match="magnitude must be finite"):
        tp.melody(torch.full((65, 4), math.nan))
