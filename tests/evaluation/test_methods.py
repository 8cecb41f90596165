"""Methods by name, and their scores on a song in memory."""

import pytest
import torch

import torchprim as tp
from torchprim.errors import PresetError
from torchprim.evaluation.methods import find_method, find_methods, score_methods
from torchprim.evaluation.songs import Song
from torchprim.metrics.baselines import baseline_estimates
from torchprim.networks.checkpoint import save_checkpoint
from torchprim.separators.base import Separator

RATE = 8000


def test_methods(tmp_path):
    save_checkpoint(tmp_path / "net.pt", tp.build_network("unet"))
    names = ["pcl", "pcl:paper", f"{tmp_path}/net.pt", f"pcl+{tmp_path}/net.pt", "pcl"]
    methods = find_methods(names)
    assert len(methods) == 4 == len({method.identity for method in methods})
    assert all(isinstance(method.separator, Separator) for method in methods)
    (tmp_path / "mine.toml").write_text('preset = "best"\n[cues.short]\ncue = "torchprim:HPSS"\n')
    own = find_methods([f"pcl:{tmp_path}/mine.toml", f"short:{tmp_path}/mine.toml"])
    assert [list(method.separator.cues.names)[-1] for method in own] == ["short", "short"]
    with pytest.raises(PresetError, match=r"nowhere.toml: no such file"):
        find_method("pcl:nowhere.toml")
    with pytest.raises(ValueError, match=r"unknown method 'long:.*; there are .*, short, METHOD:PRESET"):
        find_method(f"long:{tmp_path}/mine.toml")
    for bad in ("pcll", "pcl:worst", "null:best", "net.pth"):
        with pytest.raises(ValueError, match="unknown method"):
            find_method(bad)


def test_scores_of_a_song_in_memory(generator):
    """A separator hears the channels; what is scored is their mean. Baselines are made from the mean."""
    song = Song("stereo", 0.1 * torch.randn(2, 2, RATE, generator=generator), RATE)
    scores, separations = zip(*score_methods(find_methods(["mixture", "hpss", "irm"]), song), strict=True)
    mixture, hpss, ideal = scores
    assert separations[0] is None and separations[1].vocals.shape == (2, RATE)
    vocals, accompaniment = song.sources.mean(1)
    both = vocals + accompaniment
    assert mixture.vocals == pytest.approx(tp.sd_sdr(vocals, both).item())
    stems = tp.PrimitiveSeparator("best", "hpss")(song.mixture, RATE, channels=True)
    assert hpss.accompaniment == tp.sd_sdr(accompaniment, stems.accompaniment.mean(0)).item()
    assert hpss.confidence == stems.confidence.item() and mixture.confidence is None
    estimate = baseline_estimates(vocals, accompaniment, RATE)["ideal mask"][0]
    assert ideal.vocals == pytest.approx(tp.sd_sdr(vocals, estimate).item())
    assert hpss.mean == (hpss.vocals + hpss.accompaniment) / 2
