"""Cues of functions and of primitives, those of a preset, and their cache."""

import pytest
import torch

import torchprim as tp
from torchprim.ensemble.cues import Cues, PrimitiveCue
from torchprim.ensemble.preset_cues import preset_cues


def noise_mixture():
    return tp.Mixture(torch.randn(2, 22050, generator=torch.Generator().manual_seed(0)), 44100)


def test_functions_and_modules_are_cues():
    mixture = noise_mixture()
    cues = Cues({"loud": lambda m: (m.magnitude() > 1).float(), "timbre": PrimitiveCue(tp.HPSS(9))})
    masks = cues(mixture)
    assert list(masks) == ["loud", "timbre"] and cues.names == ("loud", "timbre")
    assert torch.equal(masks["timbre"], tp.hpss(mixture.magnitude(), 9))


def test_a_preset_builds_the_cues_that_it_uses_and_no_others():
    cues = preset_cues(tp.PRESETS["best"], ["hpss", "2dft-m"])
    types = {type(module).__name__ for module in cues.modules()}
    assert types == {"Cues", "PrimitiveCue", "HPSS", "FT2D"}


def test_equal_settings_share_a_cache_entry(monkeypatch):
    calls = []
    forward = tp.FT2D.forward
    monkeypatch.setattr(tp.FT2D, "forward", lambda self, x: calls.append(self) or forward(self, x))
    mixture = noise_mixture()
    preset_cues(tp.PRESETS["best"], ["2dft-r", "2dft-m"])(mixture)
    preset_cues(tp.PRESETS["best"], ["2dft-r"])(mixture)
    assert len(calls) == 1
    preset_cues(tp.PRESETS["paper"], ["2dft-r"])(mixture)  # another neighbourhood
    assert len(calls) == 2


def test_cues_share_their_primitives():
    cues = preset_cues(tp.PRESETS["best"], ["2dft-r", "2dft-m", "melody", "long-hpss"])
    assert cues["melody"].weight is cues["long-hpss"]
    assert cues["2dft-r"].primitive is cues["2dft-m"].primitive


def test_the_long_hpss_cue_is_long_hpss():
    mixture, preset = noise_mixture(), tp.PRESETS["best"]
    got = preset_cues(preset, ["long-hpss"])(mixture)["long-hpss"]
    wanted = tp.long_hpss(mixture.audio, cutoff=preset.cutoff, geometry=preset.geometry)
    torch.testing.assert_close(got, wanted)


def test_a_subclass_has_results_of_its_own():
    class HPSS(tp.HPSS):
        def forward(self, magnitude):
            return torch.zeros_like(magnitude)

    masks = Cues({"own": PrimitiveCue(HPSS()), "theirs": PrimitiveCue(tp.HPSS())})(noise_mixture())
    assert not masks["own"].any() and masks["theirs"].any()


def test_settings_may_be_lists():
    masks = Cues({"2dft": PrimitiveCue(tp.FT2D([1, 9]), "repetition")})(noise_mixture())
    assert torch.equal(masks["2dft"], tp.ft2d(noise_mixture().magnitude(), (1, 9)).repetition)


@pytest.mark.parametrize("cue", [3, tp.HPSS, None])
def test_what_is_no_cue_is_named(cue):
    with pytest.raises(TypeError, match="cue 'x' must be a function or module of a Mixture"):
        Cues({"x": cue})
