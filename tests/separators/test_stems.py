"""Separation into K stems: where sounds land, sums, long recordings, gradients, other sources."""

import copy
import math
import pickle

import pytest
import torch

import torchprim as tp
from torchprim.audio.load import load_audio
from torchprim.separators import base

RATE = 44100
NAMES = ["drums", "bass", "other", "vocals"]


@pytest.fixture(scope="module")
def sounds(voice):
    """5 s of clicks twice a second, a low sine, a held chord, and a gliding tone with harmonics, by stem."""
    time = torch.arange(5 * RATE) / RATE
    sine = 0.3 * torch.sin(2 * math.pi * 82.4 * time)
    chord = sum(torch.sin(2 * math.pi * f * h * time) / h for f in (440, 554.4, 659.3) for h in (1, 2, 3))
    noise = torch.randn(RATE // 2, generator=torch.Generator().manual_seed(5))
    clicks = (0.5 * noise * torch.exp(-torch.arange(len(noise)) / 800)).repeat(10)
    start = RATE // 2  # of the voice, which sounds in every other second
    stems = (clicks, sine, 0.1 * chord, 2 * voice[start : start + len(time)])
    return dict(zip(NAMES, stems, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_each_sound_lands_in_its_stem(sounds, name):
    stems = tp.StemSeparator()(sounds[name], RATE).stems
    energies = {stem: audio.square().sum().item() for stem, audio in stems.items()}
    assert list(energies) == NAMES
    assert energies[name] > (0.6 if name == "drums" else 0.95) * sum(energies.values())


def test_each_sound_is_found_in_the_mixture(sounds):
    mixture = sum(sounds.values())
    result = tp.StemSeparator()(mixture, RATE)
    for name, truth in sounds.items():
        scores = {stem: tp.sd_sdr(truth, estimate).item() for stem, estimate in result.stems.items()}
        assert max(scores, key=scores.get) == name
        assert scores[name] > tp.sd_sdr(truth, mixture) + 5
    assert 0 < result.confidence < 1


@pytest.mark.parametrize("rate", [44100, 48000, 22050.5, 96000])
def test_stems_add_up_and_so_do_masks(sounds, rate):
    song = 0.2 + torch.stack([sum(sounds.values()), sounds["other"]])[..., :60001]  # with a constant
    result = tp.StemSeparator()(song, rate, channels=True)
    torch.testing.assert_close(sum(result.stems.values()), song, atol=1e-5, rtol=0)
    assert all(stem.shape == song.shape for stem in result.stems.values())
    assert result.mask.shape[:2] == (4, 1025)
    torch.testing.assert_close(result.mask.sum(0), torch.ones_like(result.mask[0]))
    assert list(result.masks) == ["hpss", "long-hpss", "2dft-r", "melody", "low"]
    assert result.sample_rate == rate


def test_a_stem_is_its_mask_times_the_mixture(sounds):
    song = sum(sounds.values())[: 2 * RATE]
    song = song - song.mean()
    result = tp.StemSeparator()(song, RATE)
    for mask, stem in zip(result.mask, result.stems.values(), strict=True):
        masked = tp.istft(mask * tp.stft(song), length=len(song))
        torch.testing.assert_close(stem, masked, atol=1e-5, rtol=0)


def test_a_batch_is_its_items(sounds):
    batch = torch.stack([sounds["drums"] + sounds["other"], sum(sounds.values())])[:, :RATE]
    separator = tp.StemSeparator()
    both = separator(batch, RATE)
    assert both.mask.shape[:3] == (2, 4, 1025) and both.confidence.shape == (2,)
    for i, one in enumerate(separator(item, RATE) for item in batch):
        torch.testing.assert_close(both.confidence[i], one.confidence)
        for name in NAMES:
            torch.testing.assert_close(both.stems[name][i], one.stems[name], atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [True, False])
def test_long_recordings_in_pieces_and_stretches(sounds, monkeypatch, channels):
    monkeypatch.setattr(base, "PIECE_SECONDS", 1.0)
    monkeypatch.setattr(base, "OVERLAP_SECONDS", 0.2)
    song = sum(sounds.values())[: 3 * RATE + 1]
    song = torch.stack([song, song.flip(-1)]) if channels else song
    separator, seen = tp.StemSeparator(), []
    whole = separator(song, RATE, channels, keep_masks=True, progress=lambda *done: seen.append(done))
    assert seen[-1] == (len(seen), len(seen)) and len(seen) > 2
    torch.testing.assert_close(sum(whole.stems.values()), song, atol=1e-5, rtol=0)
    assert whole.mask.shape == (4, 1025, 1 + song.shape[-1] // 512)
    torch.testing.assert_close(whole.mask.sum(0), torch.ones_like(whole.mask[0]))
    assert separator(song, RATE, channels).mask is None
    parts = list(separator.stream(lambda a, b: song[..., a:b], song.shape[-1], RATE, channels))
    assert len(parts) == len(seen) and parts[0].mask is None and parts[0].masks == {}
    for name in NAMES:
        joined = torch.cat([part.stems[name] for part in parts], -1)
        torch.testing.assert_close(joined, whole.stems[name], atol=1e-6, rtol=0)
    for name in ("confidence", "silhouette", "posterior"):
        torch.testing.assert_close(getattr(parts[-1], name), getattr(whole, name))


def test_gradients_reach_audio_weights_beta_and_centres(sounds):
    separator = tp.StemSeparator(n_points=50)
    audio = sum(sounds.values())[:20000].requires_grad_()
    preset = separator.preset
    settings = {
        "weights": torch.tensor(list(preset.weights.values()), requires_grad=True),
        "beta": torch.tensor(preset.beta, requires_grad=True),
        "centres": torch.tensor(list(preset.centres.values()), requires_grad=True),
    }
    result = separator(audio, RATE, **settings)
    (result.stems["bass"].square().sum() + result.confidence).backward()
    for tensor in (audio, *settings.values()):
        assert tensor.grad.isfinite().all() and tensor.grad.abs().sum() > 0


def test_other_sources_on_other_axes(sounds):
    centres = {"steady": (1.0, 0.0), "strokes": (0.0, 0.0), "low": (1.0, 1.0)}
    separator = tp.StemSeparator(tp.StemPreset("three", centres, {"hpss": 1.0, "low": 1.0}, beta=9.0))
    mixture = sounds["drums"] + sounds["bass"] + sounds["other"]
    result = separator(mixture, RATE)
    assert list(result.stems) == ["steady", "strokes", "low"] and result.mask.shape[0] == 3
    torch.testing.assert_close(sum(result.stems.values()), mixture, atol=1e-5, rtol=0)
    for stem, truth in (("steady", "other"), ("strokes", "drums"), ("low", "bass")):
        assert tp.sd_sdr(sounds[truth], result.stems[stem]) > tp.sd_sdr(sounds[truth], mixture) + 5
    assert separator.identity != tp.StemSeparator().identity


def test_two_centres_at_0_and_1_are_the_ensemble_of_two(sounds):
    """With the cues of a preset that has no high-pass."""
    weights = {"hpss": 2.0, "2dft-r": 1.0}
    song = sum(sounds.values())[:RATE]
    two = tp.StemSeparator(
        tp.StemPreset("x", {"rest": (0, 0), "vocals": (1, 1)}, weights, rest="rest", beta=3.0)
    )
    old = tp.PrimitiveSeparator(tp.Preset("x", weights, beta=3.0, cut=()))
    result, expected = two(song, RATE), old(song, RATE)
    torch.testing.assert_close(result.stems["vocals"], expected.vocals, atol=1e-6, rtol=0)
    torch.testing.assert_close(result.stems["rest"], expected.accompaniment, atol=1e-6, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_silence_and_constants(value):
    result = tp.StemSeparator()(torch.full((2, 20000), value), RATE)
    assert all(stem.isfinite().all() for stem in result.stems.values())
    assert torch.equal(result.stems["other"], torch.full((2, 20000), value))
    assert result.confidence.isfinite().all()


def test_it_is_saved_and_shown(sounds, tmp_path):
    song = torch.stack([sounds["drums"], sounds["bass"]])[:, :20000]
    result = tp.StemSeparator()(song, RATE, channels=True)
    paths = result.save(tmp_path / "song", "flac")
    assert [path.name for path in paths] == [f"{name}.flac" for name in NAMES]
    read = [load_audio(path)[0] for path in paths]
    torch.testing.assert_close(sum(read), song, atol=1e-5, rtol=0)
    assert repr(result).startswith("StemSeparation(drums, bass, other, vocals (2, 20000), 0.45 s at 44100 Hz")
    assert len(repr(result)) < 250 and result._repr_html_().count("<audio") == 4
    batch = tp.StemSeparator()(song, RATE)
    assert "<audio" not in batch._repr_html_()
    with pytest.raises(ValueError, match=r"one recording, got a batch of shape \(2,\)"):
        batch.save(tmp_path)
    with pytest.raises(ValueError, match="ogg"):
        result.save(tmp_path, "ogg")


def test_it_copies_and_pickles(sounds):
    separator = tp.StemSeparator()
    song = sounds["drums"][:20000]
    expected = separator(song, RATE).stems["drums"]
    for other in (copy.deepcopy(separator), pickle.loads(pickle.dumps(separator))):
        assert torch.equal(other(song, RATE).stems["drums"], expected)
        assert other.identity == separator.identity
    assert tp.StemSeparator(beta=3.0).identity != separator.identity
    separator.cues["hpss"].primitive.power = 1.0
    assert separator.identity != tp.StemSeparator().identity


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "five"}, "unknown preset of stems 'five'; there are four, and"),
        ({"n_points": 1}, "n_points"),
        ({"power": 2}, "a preset has no field 'power'"),
        ({"beta": -1.0}, "beta"),
    ],
)
def test_settings_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        tp.StemSeparator(**arguments)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"centres": [[0] * 5, [1] * 5]}, "centres must be 4 points, of drums, bass, other, vocals, got 2"),
        ({"centres": torch.zeros(4, 3)}, r"centres must have shape \(..., K, 5\)"),
        ({"weights": [1.0, 2.0]}, "weights must hold 5 numbers"),
        ({"beta": 0.0}, "beta"),
    ],
)
def test_calls_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        tp.StemSeparator()(torch.randn(9000), RATE, **settings)


@pytest.mark.parametrize(("audio", "rate"), [(torch.full((9,), torch.nan), 44100), (torch.zeros(9), 0)])
def test_audio_that_cannot_be(audio, rate):
    with pytest.raises(ValueError, match=r"finite|sample_rate"):
        tp.StemSeparator()(audio, rate)
    with pytest.raises(ValueError, match=r"finite|sample_rate"):
        list(tp.StemSeparator().stream(lambda a, b: audio[a:b], len(audio), rate))
