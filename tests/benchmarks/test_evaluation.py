"""Benchmark of the paper's evaluation: excerpts laid out as songs, pages and figures collected."""

import argparse

import pytest
import torch

from benchmarks import evaluation, excerpts
from tests.support.stem_songs import RATE, noise, write_song
from torchprim.audio.write import save
from torchprim.cli.main import main
from torchprim.evaluation.songs import find_songs, read_song


def test_excerpts_are_laid_out(tmp_path):
    source = tmp_path / "in"
    save(source / "x.vocals.wav", 0.1 * noise(1, 0), RATE)
    save(source / "x.accompaniment.wav", noise(1, 1), RATE)
    save(source / "y.vocals.wav", noise(1, 2), RATE)
    save(source / "y.mixture.wav", noise(1, 3), RATE)
    for _ in range(2):  # again does no harm
        excerpts.lay_out(tmp_path / "out", source)
    found = find_songs([tmp_path / "out"])
    assert list(found.songs) == ["x", "y"] and not found.problems
    assert read_song("x", found.songs["x"]).level_ratio == pytest.approx(-4, abs=0.01)
    torch.testing.assert_close(read_song("y", found.songs["y"]).mixture, noise(1, 3))


def test_benchmark_collects_pages_and_figures(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHPRIM_DATA", str(tmp_path / "data"))
    write_song(tmp_path / "data" / "musdb18_7s" / "a", 0, seconds=0.5)
    save(tmp_path / "data" / "long_excerpts" / "x.vocals.wav", noise(0.5, 0), RATE)
    save(tmp_path / "data" / "long_excerpts" / "x.accompaniment.wav", noise(0.5, 1), RATE)
    asked = []

    def quick(words):
        asked.append((words[1], "paper" in words))
        return main([*words, "--methods", "null"] if words[1] == "compare" else words)

    monkeypatch.setattr(evaluation, "main", quick)
    out = tmp_path / "out" / "evaluation.md"
    threads = torch.get_num_threads()
    options = argparse.Namespace(work=tmp_path / "work", device="cpu", threads=threads, out=out)
    text = evaluation.run(options)
    assert asked == 2 * [("compare", False), ("confidence", False), ("confidence", True)]
    assert text.count("| `null` |") == 2
    for name in ("musdb18_7s/compare.md", "long_excerpts/figure4.png", "musdb18_7s_paper/confidence.json"):
        assert (tmp_path / "out" / name).is_file()
    assert not list((tmp_path / "out").rglob("*.jsonl"))
    page = (tmp_path / "out" / "musdb18_7s" / "compare.md").read_text()
    assert "Data: data/musdb18_7s, 1 songs" in page and str(tmp_path) not in page
