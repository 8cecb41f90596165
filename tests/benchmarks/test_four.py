"""The benchmark of four stems: its nulls, and its rows."""

import argparse
import math

import pytest
import torch

import torchprim as tp
from benchmarks import four
from benchmarks.data import MissingData
from torchprim import audio
from torchprim.metrics.baselines import NullBand
from torchprim.sources import FOUR

RATE = 44100


@pytest.fixture(scope="module")
def preview():
    """A second in which each stem is a tone: at 50, 175, 600 and 4000 Hz."""
    time = torch.arange(RATE) / RATE
    tones = [torch.sin(2 * math.pi * f * time) for f in (175.0, 50.0, 600.0, 4000.0)]
    return four.Preview("tones", torch.stack(tones) * 0.1, RATE)


def test_nulls_are_the_best_bands(preview):
    nulls = four.tune_nulls([preview])
    for name, frequency in zip(FOUR, (175, 50, 600, 4000), strict=True):
        assert nulls[name].low < frequency < nulls[name].high and nulls[name].gain > 0.9
    # Cumulative energies give what the null gives in time.
    scores = four.measure([preview], nulls, tp.StemSeparator())
    assert all(scores[name]["null"][0] > 10 for name in ("other", "vocals"))
    other = nulls["drums"]._replace(gain=0.5 * nulls["drums"].gain)
    worse = four.measure([preview], nulls | {"drums": other}, tp.StemSeparator())
    assert worse["drums"]["null"][0] < scores["drums"]["null"][0]
    assert worse["bass"] == scores["bass"]


def test_scores_are_those_of_the_stems(preview):
    stems = preview.stems * torch.tensor([[0.0], [1.0], [1.0], [1.0]])
    nulls = {name: NullBand(0, 24000, 0.5) for name in FOUR}
    scores = four.measure([preview, preview._replace(stems=stems)], nulls, tp.StemSeparator())
    mixture, estimates = stems.sum(0), tp.StemSeparator()(stems.sum(0), RATE).stems
    assert math.isnan(scores["drums"]["four"][1])  # silent
    for source, name in enumerate(FOUR[1:], 1):
        assert scores[name]["four"][1] == pytest.approx(tp.sd_sdr(stems[source], estimates[name]).item())
        assert scores[name]["mixture"][1] == pytest.approx(tp.sd_sdr(stems[source], mixture).item())
        assert scores[name]["ideal mask"][1] > scores[name]["mixture"][1]
        half = tp.sd_sdr(stems[source], 0.5 * mixture).item()
        assert scores[name]["null"][1] == pytest.approx(half, abs=1e-3)


def test_rows():
    nan = math.nan
    scores = {"bass": {"mixture": [1.0, 3.0, nan], "null": [0.0, 1.0, nan], "four": [2.0, 1.0, nan]}}
    assert four.rows(scores) == [
        ["bass", "2.00", "2.00", "0.50", "0.50", "1.50", "1.50", "+1.00 ± 1.00", "1 of 2"]
    ]
    assert four.differences([1.0], [0.0]) == "-"


def test_the_page(tmp_path, monkeypatch):
    folder = tmp_path / "musdb18_7s" / "train"
    folder.mkdir(parents=True)
    options = argparse.Namespace(split="even", threads=torch.get_num_threads())
    monkeypatch.setenv("TORCHPRIM_DATA", str(tmp_path))
    with pytest.raises(MissingData):
        four.run(options)
    (folder / "one.stem.mp4").symlink_to(audio.demo_song())
    page = four.run(options)
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| stem", *(f"| {name}" for name in FOUR)]
    assert "## Even previews: 1" in page and "Odd" not in page
