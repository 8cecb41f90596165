"""From audio to stems: ensemble, sample rates, edge cases, copies and identities."""

import copy
import math
import pickle

import pytest
import torch

import torchprim as tp
from torchprim.audio.find import demo_song
from torchprim.audio.load import load_stems
from torchprim.ensemble.presets import PRIMITIVES
from torchprim.metrics.scale import sd_sdr


def test_ensemble_beats_its_parts_and_the_mixture_on_a_real_song():
    stems, rate = load_stems(demo_song())
    vocals = stems.pop("vocals").mean(0)
    accompaniment = sum(stems.values()).mean(0)

    def score(method):
        got = tp.PrimitiveSeparator("best", method)(vocals + accompaniment, rate)
        return (sd_sdr(vocals, got.vocals) + sd_sdr(accompaniment, got.accompaniment)) / 2

    best = score("pcl")
    assert best > 4.5
    for cue in tp.PRESETS["best"].weights:
        assert best > score(cue) + 0.1  # the melody comes close: it reads the long window, too


@pytest.mark.parametrize("preset", ["best", "paper", "companion"])
def test_shapes_masks_batch_and_reproducibility(preset, mix):
    separator = tp.PrimitiveSeparator(preset)
    batch = torch.stack([mix[:60000], mix[50000:110000]])
    stems = separator(batch, 44100)
    geometry = separator.preset.geometry
    grid = (2, geometry.bins, geometry.frames(math.ceil(60000 * geometry.sample_rate / 44100)))
    assert stems.mask.shape == grid
    assert list(stems.masks) == list(separator.preset.weights)
    assert all(mask.shape == grid for mask in stems.masks.values())
    assert ((stems.mask >= 0) & (stems.mask <= 1)).all()
    torch.testing.assert_close(stems.vocals + stems.accompaniment, batch, atol=1e-5, rtol=0)
    torch.testing.assert_close(stems.silhouette * stems.posterior, stems.confidence)
    for i in range(2):  # batch equals loop
        alone = separator(batch[i], 44100)
        torch.testing.assert_close(alone.vocals, stems.vocals[i], atol=1e-4, rtol=0)
        torch.testing.assert_close(alone.confidence, stems.confidence[i], atol=1e-3, rtol=0)
    assert torch.equal(separator(batch, 44100).confidence, stems.confidence)  # reproducible


@pytest.mark.parametrize("method", PRIMITIVES)
def test_the_mask_of_one_primitive(method, mix):
    stems = tp.PrimitiveSeparator("best", method)(mix[:60000], 44100)
    assert list(stems.masks) == [method]
    assert torch.equal(stems.mask, stems.masks[method])
    assert stems.mask.any()


@pytest.mark.parametrize("level", [1e-30, 1e30])
def test_the_largest_and_smallest_audio_is_separated(mix, level):
    song = mix[:30000] / mix[:30000].abs().max()
    stems = tp.PrimitiveSeparator()(level * song, 44100)
    assert stems.vocals.isfinite().all() and stems.vocals.any()
    assert stems.confidence.isfinite()


@pytest.mark.parametrize("rate", [8000, 22050, 44099, 48000, 192000])
def test_other_sample_rates(rate, mix):
    song = tp.resample(mix[: 2 * 44100], 44100, rate)
    stems = tp.PrimitiveSeparator()(song, rate)
    torch.testing.assert_close(stems.vocals + stems.accompaniment, song, atol=1e-5, rtol=0)
    wanted = tp.resample(tp.PrimitiveSeparator()(mix[: 2 * 44100], 44100).vocals, 44100, rate)
    count = min(len(wanted), len(song))
    if rate >= 44099:
        assert sd_sdr(wanted[:count], stems.vocals[:count]) > 10


@pytest.mark.parametrize("samples", [1, 2, 3, 10, 511, 512, 513, 2047, 2049])
@pytest.mark.parametrize("preset", ["best", "paper", "companion"])
def test_a_few_samples(samples, preset, generator):
    stems = tp.PrimitiveSeparator(preset)(torch.randn(2, samples, generator=generator), 44100)
    assert stems.vocals.shape == (2, samples)
    assert torch.isfinite(stems.vocals).all()
    assert torch.isfinite(stems.confidence).all()


@pytest.mark.parametrize("value", [0.0, 0.3, -1.0])
@pytest.mark.parametrize("preset", ["best", "paper", "companion"])
@pytest.mark.parametrize("method", ["pcl", *PRIMITIVES])
def test_silence_and_constants(value, preset, method):
    song = torch.full((2, 30000), value)
    stems = tp.PrimitiveSeparator(preset, method)(song, 44100, channels=True)
    assert not stems.mask.any()
    assert stems.confidence == 0
    assert not stems.vocals.any()
    assert torch.equal(stems.accompaniment, song)


def test_masks_are_invariant_to_level(mix):
    loud, quiet = (tp.PrimitiveSeparator()(mix[:60000] * gain, 44100) for gain in (1.0, 2.0**-12))
    torch.testing.assert_close(loud.mask, quiet.mask, atol=1e-4, rtol=0)
    torch.testing.assert_close(loud.vocals, quiet.vocals * 2.0**12, atol=1e-4, rtol=0)


def test_gradient_flows_to_the_audio(mix):
    song = mix[:20000].clone().requires_grad_()
    stems = tp.PrimitiveSeparator()(song, 44100)
    (stems.vocals.square().sum() + stems.confidence).backward()
    assert torch.isfinite(song.grad).all()
    assert song.grad.any()


def test_changed_presets():
    separator = tp.PrimitiveSeparator("best", beta=3.0, weights={"hpss": 1.0, "2dft-r": 0.0})
    assert separator.preset.beta == 3.0
    assert separator.cues.names == ("hpss",)  # a cue with weight 0 is not computed
    assert tp.PRESETS["best"].beta == 2.5
    assert tp.PrimitiveSeparator(spatial=1.0).identity != tp.PrimitiveSeparator().identity


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "worst"}, "unknown preset 'worst'; there are paper, companion, best"),
        ({"method": "repet"}, "unknown method 'repet'; there are pcl, hpss"),
        ({"beta": 0.0}, "beta must be positive, got 0.0"),
        ({"weights": {"hps": 1.0}}, "unknown primitive 'hps'"),
        ({"weights": {"hpss": -1.0}}, "weights must not be negative"),
        ({"weights": {}}, "weights must name at least one primitive"),
        ({"n_points": 1}, "n_points must be a whole number at least 2, got 1"),
        ({"betta": 1.0}, "a preset has no field 'betta'"),
    ],
)
def test_bad_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        tp.PrimitiveSeparator(**arguments)


@pytest.mark.parametrize(
    ("audio", "rate", "channels", "message"),
    [
        (torch.zeros(5).long(), 44100, False, "audio must be real and floating point"),
        (torch.tensor([0.0, torch.inf]), 44100, False, "audio must be finite"),
        (torch.full((9,), 3e32), 44100, False, r"audio must lie within ±1e\+30"),
        (torch.zeros(2, 0), 44100, False, "audio must not be empty"),
        (torch.zeros(5), 44100, True, r"audio must have shape \(\.\.\., C, T\), got \(5,\)"),
        (torch.zeros(5), 0, False, "sample_rate must be positive, got 0"),
        (torch.zeros(5), True, False, "sample_rate must be a number in Hz, got True"),
        (torch.zeros(5), 1, False, "sample_rate must be within a factor of 1000 of 44100 Hz, got 1"),
        (torch.zeros(5), 1e-30, False, "sample_rate must be within a factor of 1000 of 44100 Hz, got 1e-30"),
    ],
)
def test_bad_audio(audio, rate, channels, message):
    with pytest.raises(ValueError, match=message):
        tp.PrimitiveSeparator()(audio, rate, channels)


def test_separators_copy_and_pickle(mix):
    separators = [tp.PrimitiveSeparator("best", beta=3.0), tp.PrimitiveSeparator("paper", "hpss")]
    separators.append(tp.NetworkSeparator(tp.build_network("small").eval()).with_primitives("companion"))
    song = mix[:11025]
    for separator in separators:
        with torch.inference_mode():
            wanted = separator(song, 44100).vocals
            for other in (copy.deepcopy(separator), pickle.loads(pickle.dumps(separator))):
                assert other.identity == separator.identity
                assert torch.equal(other(song, 44100).vocals, wanted)


def test_a_preset_is_frozen():
    weights = {"hpss": 1.0}
    preset = tp.Preset("mine", weights)
    weights["hpss"] = -1.0
    assert preset.weights == {"hpss": 1.0}
    with pytest.raises(TypeError):
        preset.weights["hpss"] = 2.0
    assert copy.deepcopy(tp.PRESETS["best"]) == tp.PRESETS["best"]


def test_the_identity_covers_the_cues():
    """Labels of a separator whose cues were changed must not be taken for the preset's."""
    separator, same = tp.PrimitiveSeparator("best"), tp.PrimitiveSeparator("best")
    preset = separator.identity
    assert preset == same.identity
    seen = {preset}
    hpss = separator.cues["hpss"].primitive
    for power in (3.0, torch.tensor(4.0), torch.nn.Parameter(torch.tensor(4.0)), torch.tensor(4.0000005)):
        hpss.power = power
        assert separator.identity not in seen
        seen.add(separator.identity)
    hpss.power = 2.0
    assert separator.identity == preset
    separator.cues["hpss"] = torch.nn.Identity()
    assert separator.identity not in seen
