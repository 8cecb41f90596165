"""Properties common to all primitives, and the behaviour of each on synthetic signals."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torchprim as tp
from tests.support.oracles import spectrogram

MAGNITUDE_CUES = {
    "hpss": tp.hpss,
    "2dft-r": lambda a, **k: tp.ft2d(a, **k).repetition,
    "2dft-m": lambda a, **k: tp.ft2d(a, **k).micro_modulation,
    "repet-sim": lambda a, **k: tp.repet_sim(a, **({"apart": 0.05} | k)),
    "melody": tp.melody,
}
PAIRS = [
    (tp.hpss, tp.HPSS),
    (tp.ft2d, tp.FT2D),
    (tp.long_hpss, tp.LongHPSS),
    (tp.repet_sim, tp.RepetSim),
    (tp.melody, tp.Melody),
    (tp.spatial, tp.Spatial),
]


@pytest.fixture(params=MAGNITUDE_CUES)
def cue(request):
    return MAGNITUDE_CUES[request.param]


@pytest.mark.parametrize(("function", "module"), PAIRS, ids=lambda x: x.__name__)
def test_module_has_the_settings_of_the_function(function, module):
    """Same names, order and defaults, but for the inputs of `forward`."""
    wanted = dict(inspect.signature(function).parameters)
    wanted.pop(next(iter(wanted)))
    called = inspect.signature(module.forward).parameters
    wanted = {n: p for n, p in wanted.items() if n not in called}
    got = {n: p for n, p in inspect.signature(module.__init__).parameters.items() if n != "self"}
    assert list(got) == list(wanted)
    assert [p.default for p in got.values()] == [p.default for p in wanted.values()]


@given(
    lead=st.lists(st.integers(1, 2), max_size=2),
    bins=st.sampled_from([17, 33, 64, 129]),
    frames=st.sampled_from([1, 2, 3, 7, 17, 31, 33, 50]),
    name=st.sampled_from(sorted(MAGNITUDE_CUES)),
)
@settings(max_examples=60, deadline=None)
def test_masks_lie_in_0_1_and_batch_equals_loop(lead, bins, frames, name):
    cue, magnitude = MAGNITUDE_CUES[name], spectrogram(*lead, bins, frames, seed=bins + frames)
    mask = cue(magnitude)
    assert mask.shape == magnitude.shape
    assert mask.dtype == magnitude.dtype
    assert (mask >= 0).all()
    assert (mask <= 1).all()
    assert not mask[magnitude == 0].any()
    flat = magnitude.reshape(-1, bins, frames)
    for item, wanted in zip(flat, mask.reshape(-1, bins, frames), strict=True):
        torch.testing.assert_close(cue(item), wanted, atol=1e-5, rtol=0)


def test_non_contiguous_input(cue):
    magnitude = spectrogram(40, 2, 65).permute(1, 2, 0)
    torch.testing.assert_close(cue(magnitude), cue(magnitude.contiguous()), atol=1e-6, rtol=0)


@pytest.mark.parametrize("factor", [2.0**-20, 4.0, 2.0**20])
def test_masks_are_invariant_to_scaling_by_powers_of_two(cue, factor):
    magnitude = spectrogram(65, 40)
    torch.testing.assert_close(cue(magnitude * factor), cue(magnitude), atol=1e-6, rtol=0)


def test_dtype(cue):
    """Half precision is computed in float32; float64 stays."""
    magnitude = spectrogram(65, 40).half()
    for dtype, wanted in ((torch.float16, torch.float32), (torch.bfloat16, torch.float32)):
        assert cue(magnitude.to(dtype)).dtype == wanted
    assert cue(magnitude.double()).dtype == torch.float64
    assert torch.equal(cue(magnitude), cue(magnitude.float()))


def test_silence_gives_zero_and_finite_gradients(cue):
    silence = torch.zeros(2, 65, 40, requires_grad=True)
    mask = cue(silence, cutoff=220.0)
    mask.sum().backward()
    assert not mask.any()
    assert torch.isfinite(silence.grad).all()


def test_gradient_is_finite_on_partly_silent_input(cue):
    magnitude = spectrogram(65, 40).requires_grad_()
    cue(magnitude, cutoff=220.0).square().sum().backward()
    assert torch.isfinite(magnitude.grad).all()


def test_high_pass(cue):
    magnitude = spectrogram(65, 40) + 0.01
    bins = torch.arange(65) * 22050 / 64
    hard = cue(magnitude, cutoff=4000.0, smooth=False)
    assert not hard[bins < 4000].any()
    assert torch.equal(hard[bins >= 4000], cue(magnitude)[bins >= 4000])
    smooth = cue(magnitude, cutoff=4000.0)
    assert not smooth[bins < 4000 / 2**0.5].any()
    assert torch.equal(smooth[bins > 4000 * 2**0.5], cue(magnitude)[bins > 4000 * 2**0.5])


@pytest.mark.parametrize(
    ("magnitude", "message"),
    [
        (torch.rand(40), "must have shape"),
        (torch.rand(65, 40) - 0.5, "must not be negative, its minimum is -0"),
        (torch.rand(65, 40).to(torch.cfloat), "must be real"),
        (torch.ones(65, 40).long(), "must be real and floating point"),
        (torch.full((65, 40), torch.nan), "must be finite"),
        (torch.full((65, 40), torch.inf), "must be finite"),
        (torch.rand(65, 0), "must not be empty"),
        ([[1.0]], "must be a tensor"),
    ],
)
def test_bad_magnitude(cue, magnitude, message):
    with pytest.raises(ValueError, match=f"magnitude {message}"):
        cue(magnitude)


@pytest.mark.parametrize("cutoff", [-1.0, 30000.0, float("nan")])
def test_bad_cutoff(cue, cutoff):
    with pytest.raises(ValueError, match="cutoff must lie in"):
        cue(torch.rand(65, 40), cutoff=cutoff)


# --- timbre ---------------------------------------------------------------------------------------


def test_hpss_equals_librosa():
    import librosa

    magnitude = spectrogram(129, 100).numpy()
    got = tp.hpss(torch.tensor(magnitude)).numpy()
    wanted = librosa.decompose.hpss(magnitude, kernel_size=31, mask=True)[0]
    present = magnitude > 0
    np.testing.assert_allclose(got[present], wanted[present], atol=1e-6)


def test_steady_tone_is_harmonic_and_click_percussive():
    t = torch.arange(2 * 44100) / 44100
    tone = torch.sin(2 * torch.pi * 1000 * t)
    click = torch.zeros_like(t)
    click[44100] = 50.0
    spectrum = tp.stft(tone + click).abs()
    mask = tp.hpss(spectrum)
    assert mask[46, 20:60].min() > 0.99  # 1 kHz, away from the click
    assert mask[500:900, 86].max() < 0.01  # the click, away from the tone
    with pytest.raises(ValueError, match="power must be positive, got 0"):
        tp.hpss(spectrum, power=0)
    with pytest.raises(ValueError, match="kernel_size must be a whole number"):
        tp.hpss(spectrum, kernel_size=0)


def test_a_huge_power_does_not_overflow():
    magnitude = 1e4 * spectrogram(65, 40)
    assert torch.isfinite(tp.hpss(magnitude, power=40.0)).all()


# --- repetition and micro-modulation -----------------------------------------------------------------


def test_medians_are_shift_invariant_away_from_the_edges():
    magnitude = spectrogram(65, 90)
    assert torch.equal(tp.hpss(magnitude, 9)[:, 20:70], tp.hpss(magnitude[:, 5:], 9)[:, 15:65])


def test_drum_loop_repeats_and_voice_over_it_does_not(drum_loop, voice):
    """Shares of the energy of voice and loop that the mask assigns to the vocals."""
    loop, sung = tp.stft(drum_loop).abs(), tp.stft(voice).abs()
    magnitude = tp.stft(drum_loop + voice).abs()
    for mask in (*tp.ft2d(magnitude, cutoff=150.0), tp.repet_sim(magnitude, apart=0.4)):
        to_vocals = [(mask * x).square().sum() / x.square().sum() for x in (sung, loop)]
        assert to_vocals[0] > 0.5
        assert to_vocals[1] < 0.1


def test_repet_sim_by_hand():
    """Two alternating frames, and a note added to one: the median of similar frames lacks the note alone."""
    a, b = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, 3.0, 0.0])
    magnitude = torch.stack([a, b] * 6, dim=1)
    magnitude[1, 4] = 1.0  # a note in the fifth frame
    mask = tp.repet_sim(magnitude, apart=2.0, hop_length=1, sample_rate=1)
    assert mask[1, 4] == 1.0
    mask[1, 4] = 0.0
    assert not mask.any()


def test_repet_sim_without_similar_frames_is_all_vocals():
    magnitude = torch.rand(5, 3) + 0.1
    assert torch.equal(tp.repet_sim(magnitude), torch.ones(5, 3))
    with pytest.raises(ValueError, match="apart must be positive, got 0"):
        tp.repet_sim(magnitude, apart=0)
    with pytest.raises(ValueError, match="count must be a whole number at least 1, got 0"):
        tp.repet_sim(magnitude, count=0)


# --- long window ----------------------------------------------------------------------------------


def test_long_hpss_passes_vibrato_and_rejects_a_steady_tone(voice):
    t = torch.arange(len(voice)) / 44100
    steady = 0.1 * torch.sin(2 * torch.pi * 440 * t)
    sung = slice(44100 * 3 // 2, 44100 * 2 - 4096)
    masks = [tp.long_hpss(x) for x in (voice, steady)]
    shares = [
        ((m * tp.stft(x).abs())[:, 100:160].square().sum() / tp.stft(x).abs()[:, 100:160].square().sum())
        for m, x in zip(masks, (voice, steady), strict=True)
    ]
    assert voice[sung].any()
    assert shares[0] > 0.5
    assert shares[1] < 0.05


@pytest.mark.parametrize("samples", [1, 2, 10, 511, 513, 20011])
def test_long_hpss_takes_any_length(samples):
    audio = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    mask = tp.long_hpss(audio)
    assert mask.shape == (2, 1025, 1 + samples // 512)
    assert ((mask >= 0) & (mask <= 1)).all()
    torch.testing.assert_close(tp.long_hpss(audio[1]), mask[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(tp.long_hpss(audio, spectrum=tp.stft(audio)), mask, atol=1e-5, rtol=0)


def test_long_hpss_silence():
    silence = torch.zeros(5000, requires_grad=True)
    mask = tp.long_hpss(silence)
    mask.sum().backward()
    assert not mask.any()
    assert torch.isfinite(silence.grad).all()
    for bad in (torch.full((500,), torch.nan), torch.zeros(500, dtype=torch.cfloat), torch.zeros(0)):
        with pytest.raises(ValueError, match="audio must"):
            tp.long_hpss(bad)


# --- gradients ------------------------------------------------------------------------------------


def test_gradcheck():
    magnitude = torch.rand(9, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    magnitude.requires_grad_()
    power = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    cutoff = torch.tensor(6000.0, dtype=torch.float64, requires_grad=True)
    check = torch.autograd.gradcheck
    assert check(lambda a, p, c: tp.hpss(a, 5, p, cutoff=c), (magnitude, power, cutoff))
    assert check(lambda a: tp.repet_sim(a, apart=3.0, hop_length=1, sample_rate=1), (magnitude,))
