"""Centres of four stems among the cues: the settings, and the axis of frequency."""

import copy
import pickle

import pytest
import torch

import torchprim as tp
from torchprim.ensemble import four
from torchprim.ensemble.four import AXES, FOUR, LowBand, stem_cues


def test_the_docstring_states_the_centres():
    lines = [line for line in four.__doc__.splitlines() if line.startswith("| `")]
    said = {
        axis.strip("` "): [float(x.replace("1/2", "0.5")) for x in values]
        for axis, _, *values in (line.strip("| ").split(" | ") for line in lines)
    }
    expected = {
        axis: [weight, *(centre[i] for centre in FOUR.centres.values())]
        for i, (axis, weight) in enumerate(FOUR.weights.items())
    }
    assert said == expected and FOUR.sources == ("drums", "bass", "other", "vocals")


def test_each_centre_is_in_its_own_cluster():
    points = torch.tensor(list(FOUR.centres.values()))
    masks = [points[None, :, i] for i in range(len(FOUR.weights))]  # (1, 4): one bin, four frames
    posterior = tp.soft_assignment(masks, list(FOUR.weights.values()), FOUR.beta, centres=points)
    assert torch.equal(posterior[:, 0].argmax(0), torch.arange(4)) and posterior[:, 0].amax(0).min() > 0.95


def test_low_is_the_band_below_its_edge():
    mixture = tp.Mixture(torch.randn(2, 44100), 44100)
    mask = LowBand(200.0)(mixture)
    assert mask.shape == mixture.magnitude().shape
    frequency = torch.linspace(0, 22050, 1025)
    assert (mask[..., frequency < 140, :] == 1).all() and (mask[..., frequency > 290, :] == 0).all()
    torch.testing.assert_close(1 - mask[0, :, :1], tp.high_pass(1025, 44100, 200.0))


def test_all_axes_are_built_in_order():
    weights = dict.fromkeys(reversed(AXES), 1.0)
    preset = tp.StemPreset("all", {"a": [0] * len(AXES), "b": [1] * len(AXES)}, weights)
    masks = stem_cues(preset)(tp.Mixture(torch.randn(30000), 44100))
    assert tuple(masks) == tuple(reversed(AXES))
    low = tp.StemPreset("low", {"a": [0], "b": [1]}, {"low": 1.0})
    assert list(stem_cues(low)(tp.Mixture(torch.randn(9000), 44100))) == ["low"]


def test_a_preset_is_frozen_copied_and_pickled():
    with pytest.raises(TypeError):
        FOUR.centres["drums"] = (0, 0, 0, 0, 0)
    assert copy.deepcopy(FOUR) == FOUR == pickle.loads(pickle.dumps(FOUR))
    assert tp.StemPreset("x", {"a": [0], "b": [1]}, {"low": 1.0}).rest == "b"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"pitch": 1.0}}, "unknown axis 'pitch'; there are hpss"),
        ({"weights": {}}, "weights must not be negative"),
        ({"weights": {"low": -1.0, "hpss": 2.0}}, "weights must not be negative"),
        ({"weights": {"low": 0.0, "hpss": 0.0}}, "weights must not be negative and not all 0"),
        ({"centres": {"a": (0, 1)}}, "at least two sources, got a"),
        ({"centres": {}}, "at least two sources, got none"),
        ({"centres": {"a": (0, 1), "b": (1,)}}, r"the centre of 'b' must be 2 numbers in \[0, 1\]"),
        ({"centres": {"a": (0, 1), "b": (1, 1.5)}}, "the centre of 'b' must be"),
        ({"centres": {"a": (0, 1), "b": (1, float("nan"))}}, "the centre of 'b' must be"),
        ({"rest": "c"}, "rest must be one of a, b, got 'c'"),
        ({"beta": 0.0}, "beta"),
        ({"low": -1.0}, "low"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    good = {"name": "x", "centres": {"a": (0, 1), "b": (1, 0)}, "weights": {"hpss": 1.0, "low": 2.0}}
    assert tp.StemPreset(**good).sources == ("a", "b")
    with pytest.raises(ValueError, match=message):
        tp.StemPreset(**good | changes)


@pytest.mark.parametrize("name", ["../evil", "a/b", "a b", ""])
def test_sources_are_names_of_files(name):
    with pytest.raises(ValueError, match="sources must be two names or more"):
        tp.StemPreset("mine", {name: (1.0,), "rest": (0.0,)}, {"hpss": 1.0})
