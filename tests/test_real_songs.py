"""Quality on real songs with known stems, if there are any: see `benchmarks/data.py`."""

import pytest
import torch

import torchprim as tp
from benchmarks.data import preview_paths, read_preview

pytestmark = pytest.mark.data
BEST = tp.PRESETS["best"]


@pytest.fixture(scope="module")
def songs():
    return [read_preview(path) for path in preview_paths("odd")[::3]]


def mean_score(songs, preset, method="pcl"):
    """Compute the mean SD-SDR of both sources over the songs."""
    separator, scores = tp.PrimitiveSeparator(preset, method), []
    for song in songs:
        with torch.no_grad():
            stems = separator(song.mixture, song.sample_rate, channels=True)
        mono = song.to_mono()
        pairs = zip(mono.sources, (stems.vocals, stems.accompaniment), strict=True)
        scores.append(sum(tp.sd_sdr(source, stem.mean(0, keepdim=True)) for source, stem in pairs))
    return torch.stack(scores).mean().item() / 2


def test_best_beats_paper_and_its_parts(songs):
    best = mean_score(songs, "best")
    assert best > mean_score(songs, "paper") + 1
    for cue in tp.PRESETS["best"].weights:
        assert best > mean_score(songs, "best", cue)


def test_the_spatial_cue_helps(songs):
    assert mean_score(songs, "best") > mean_score(songs, tp.Preset("mono", BEST.weights, spatial=0.0)) + 0.2


def test_melody_follows_the_voice(songs):
    """Raw pitch accuracy in the mixture, against the track of the clean vocals."""
    accuracy = []
    for song in songs:
        song = song.to_mono()
        clean, mixed = (tp.track_pitch(x, song.sample_rate) for x in (song.vocals, song.mixture))
        both = clean.voiced & mixed.voiced
        cents = 1200 * (mixed.f0[both] / clean.f0[both]).log2().abs()
        accuracy.append((cents < 50).float().mean())
    assert torch.stack(accuracy).mean() > 0.6
