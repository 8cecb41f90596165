"""What a confidence means: the table of previews, places and expectations; the confidence over time."""

import math

import numpy as np
import pytest
import torch

import torchprim as tp
from tests.support.oracles import tone
from torchprim.report.overview import confidence_over_time, rms_magnitude
from torchprim.report.reference import Reference, describe, rank, reference

RATE = 44100


@pytest.mark.parametrize("preset", sorted(tp.PRESETS))
def test_every_preset_has_its_previews(preset):
    known = reference(preset)
    assert [len(values) for values in known] == [40, 40, 40]
    assert all(math.isfinite(value) for values in known for value in values)
    assert (
        known.confidence == sorted(known.confidence) and -1 <= known.confidence[0] < known.confidence[-1] <= 1
    )
    # Figure 2 of the paper: confidence predicts the accompaniment.
    assert np.corrcoef(known.confidence, known.accompaniment)[0, 1] > 0.7


def test_place_and_expectation():
    known = Reference(
        [i / 10 for i in range(10)], [float(i) for i in range(10)], [10.0 + i for i in range(10)]
    )
    assert [rank(known, value) for value in (-0.1, 0.0, 0.05, 2.0)] == [0, 0, 1, 10]
    text = describe(known, 0.52, 5)  # nearest: songs 3 to 7
    assert "A confidence of 0.52 is higher than that of 6 of 10 previews" in text
    assert "median SD-SDR of 5.0 dB (half of them 4.0 to 6.0) for the vocals" in text
    assert "15.0 dB (half of them 14.0 to 16.0) for the accompaniment" in text
    low = Reference(known.confidence, [-value for value in known.vocals], known.accompaniment)
    assert "of \N{MINUS SIGN}5.0 dB (half of them \N{MINUS SIGN}6.0 to" in describe(low, 0.52, 5)


def test_confidence_over_time_is_that_of_each_window():
    audio = torch.randn(2, 20 * 8000, generator=torch.Generator().manual_seed(0)) / 9
    separator = tp.PrimitiveSeparator("paper", "hpss")
    course = confidence_over_time(separator, audio, 8000)
    assert course.window == 5.0 and course.times == [2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 17.5]
    alone = separator(audio[:, 5 * 8000 : 10 * 8000], 8000, channels=True).confidence.item()
    assert course.confidence[2] == pytest.approx(alone, abs=1e-4)


def test_windows_of_long_and_short_songs(monkeypatch):
    separator = tp.PrimitiveSeparator("paper", "hpss")
    lengths = []
    real = separator.estimate

    def count(mixture, generator):
        lengths.append(mixture.audio.shape[-1] / RATE)
        return real(mixture, generator)

    monkeypatch.setattr(separator, "estimate", count)
    song = torch.randn(1, 400 * 8000, generator=torch.Generator().manual_seed(0))
    course = confidence_over_time(separator, song, 8000)
    assert len(lengths) == 40 and all(length == pytest.approx(7, abs=0.01) for length in lengths)
    assert (course.times[0], course.times[-1]) == (3.5, 396.5)
    assert confidence_over_time(separator, song[:, :800], 8000).times == [0.05]


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize("columns", [50, 900])
def test_a_song_at_a_glance_keeps_its_power(rate, columns):
    """A tone that stops half-way: one power in every frame before, none after, and the mean of the STFT's."""
    audio = tone(1000, 30.0, rate)
    audio[15 * rate :] = 0
    magnitude = rms_magnitude(audio, rate, tp.Geometry(), columns)
    count = magnitude.shape[1]
    assert columns / 2 < count <= columns
    power = magnitude.double().square().sum(0)
    half = count // 2
    assert power[2 : half - 2].std() < 0.02 * power[2 : half - 2].mean()
    assert power[half + 2 :].max() < 1e-6 * power[2]
    want = tp.Mixture(audio, rate).magnitude().double().square().sum(0).mean()
    assert power.mean().item() == pytest.approx(want.item(), rel=0.03)
