"""Cues: anything that turns a mixture into a mask."""

import torch

import torchprim as tp
from torchprim.ensemble.cues import Cues, PrimitiveCue
from torchprim.ensemble.preset_cues import preset_cues


def mixture():
    return tp.Mixture(torch.randn(2, 22050, generator=torch.Generator().manual_seed(0)), 44100)


def test_functions_and_modules_are_cues():
    song = mixture()
    cues = Cues({"loud": lambda m: (m.magnitude() > 1).float(), "timbre": PrimitiveCue(tp.HPSS(9))})
    masks = cues(song)
    assert list(masks) == ["loud", "timbre"] and cues.names == ("loud", "timbre")
    assert torch.equal(masks["timbre"], tp.hpss(song.magnitude(), 9))


def test_a_preset_builds_the_cues_that_it_uses_and_no_others():
    cues = preset_cues(tp.PRESETS["best"], ["hpss", "2dft-m"])
    kinds = {type(module).__name__ for module in cues.modules()}
    assert kinds == {"Cues", "PrimitiveCue", "HPSS", "FT2D"}


def test_equal_settings_are_computed_once(monkeypatch):
    calls = []
    forward = tp.FT2D.forward
    monkeypatch.setattr(tp.FT2D, "forward", lambda self, x: calls.append(self) or forward(self, x))
    song = mixture()
    preset_cues(tp.PRESETS["best"], ["2dft-r", "2dft-m"])(song)
    preset_cues(tp.PRESETS["best"], ["2dft-r"])(song)
    assert len(calls) == 1
    preset_cues(tp.PRESETS["paper"], ["2dft-r"])(song)  # another neighbourhood
    assert len(calls) == 2


def test_the_melody_shares_the_long_window():
    cues = preset_cues(tp.PRESETS["best"], ["melody", "long-hpss"])
    assert cues["melody"].weight is cues["long-hpss"]
