"""Learnt settings that left their range, levels far from 1, arguments without bound."""

import pytest
import torch

import torchprim as tp
from torchprim.spectra.high_pass import high_pass


@pytest.mark.parametrize("value", [-1.0, float("nan"), 30_000.0])
@pytest.mark.parametrize("primitive", [tp.hpss, tp.ft2d, tp.melody, tp.repet_sim])
def test_a_learnt_cutoff_out_of_range(primitive, value):
    with pytest.raises(ValueError, match="cutoff must"):
        primitive(torch.rand(65, 40), cutoff=torch.tensor(value))


@pytest.mark.parametrize("cutoff", [0.0, 220.0, 22050.0])
def test_a_learnt_cutoff_in_range_is_that_number(cutoff):
    learnt = high_pass(65, 44100, torch.tensor(cutoff))
    torch.testing.assert_close(learnt, high_pass(65, 44100, cutoff))


@pytest.mark.parametrize("name", ["slope", "jump"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), torch.tensor(-0.1), torch.tensor(float("nan"))])
def test_costs_of_a_path_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"{name} must"):
        tp.melody(torch.rand(65, 40), soft=True, **{name: value})


@pytest.mark.parametrize("value", [float("nan"), torch.tensor(float("nan"))])
def test_a_bias_that_is_no_number(value):
    with pytest.raises(ValueError, match="bias must be finite"):
        tp.melody(torch.rand(65, 40), bias=value)


@pytest.mark.parametrize("factor", [1e-30, 1e-10, 1e10, 1e18])
def test_level_does_not_count(factor, generator):
    magnitude = torch.rand(65, 200, generator=generator)
    for primitive in (
        lambda x: tp.repet_sim(x, apart=0.1),
        tp.hpss,
        lambda x: torch.stack(tp.ft2d(x)),
        tp.melody,
    ):
        torch.testing.assert_close(primitive(magnitude * factor), primitive(magnitude), atol=1e-3, rtol=0)


def test_similar_frames_further_apart_than_the_clip(generator):
    """Nothing repeats, and nothing of the distance's size is allocated."""
    magnitude = torch.rand(65, 40, generator=generator)
    assert torch.equal(tp.repet_sim(magnitude, apart=1e12), torch.ones(65, 40))


def test_the_lowest_pitch_is_bounded():
    """1e-30 Hz would be 14,000 pitches: 8 GB, and minutes."""
    with pytest.raises(ValueError, match=r"f_min and f_max must satisfy 1 <= f_min .* got 1e-30 and 1100"):
        tp.melody(torch.rand(65, 40), f_min=1e-30)
    assert tp.melody(torch.rand(65, 40), f_min=1.0).shape == (65, 40)
