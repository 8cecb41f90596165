"""The melody benchmark on songs made here: what it reads, measures and prints. Speeds are not tested."""

import argparse

import numpy as np
import pytest
import torch

import torchprim as tp
from benchmarks import melody, trackers
from benchmarks.data import MissingData
from tests.support.oracles import voice
from torchprim.audio.write import save
from torchprim.evaluation.songs import Song

RATE = 44100


def test_mir1k_clips_have_equal_powers_and_their_labels(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHPRIM_DATA", str(tmp_path))
    with pytest.raises(MissingData, match="TORCHPRIM_DATA"):
        melody.mir1k("amy")
    folder = tmp_path / "melody_mir1k"
    folder.mkdir()
    noise = torch.randn(32000, generator=torch.Generator().manual_seed(0)) * 0.01
    save(folder / "amy_1_01.flac", torch.stack([noise, voice(220.0, rate=16000)]), 16000)
    np.savetxt(folder / "amy_1_01.pv", np.r_[np.zeros(9), np.full(90, 57.0)])
    (clip,) = melody.mir1k("amy")
    assert clip.mixture.square().mean().sqrt().item() == pytest.approx(0.1 * 2**0.5, rel=0.05)
    assert clip.reference.voiced.sum() == 90
    assert clip.reference.f0[50] == pytest.approx(220.0)
    assert clip.reference.times[:2] == pytest.approx([0.02, 0.04])


def test_accuracy_counts_pitch_and_voicing_apart():
    times = np.arange(100) * 0.01
    reference = melody.Curve(times, np.full(100, 220.0), np.arange(100) < 50)
    assert melody.accuracy(reference, reference) == pytest.approx([1, 1, 1, 0, 1])
    octave = reference._replace(f0=np.full(100, 440.0), voiced=np.ones(100, bool))
    assert melody.accuracy(reference, octave) == pytest.approx([0, 1, 1, 1, 0], abs=0.02)
    mute = reference._replace(voiced=np.zeros(100, bool))
    assert melody.accuracy(reference, mute) == pytest.approx([1, 1, 0, 0, 0.5], abs=0.02)


def test_grid_takes_the_nearest_time():
    curve = trackers.Curve(
        np.array([0.0, 0.02, 0.5]), np.array([100.0, 200.0, 300.0]), np.array([1, 0, 1]) > 0
    )
    f0, voiced = trackers.on_grid(curve, 60)
    assert f0[[0, 1, 10, 59]].tolist() == [100, 200, 200, 300]
    assert voiced[[0, 1, 59]].tolist() == [1, 0, 1]


def test_whole_run_on_one_song(tmp_path, monkeypatch):
    sung = voice(247.0, 1.5)
    noise = 0.02 * torch.randn(len(sung), generator=torch.Generator().manual_seed(0))
    clip = melody.Clip(
        sung, RATE, trackers.Curve(np.arange(60) * 0.02, np.full(60, 247.0), np.ones(60, bool))
    )
    monkeypatch.setattr(melody, "mir1k", lambda singer: [clip])
    monkeypatch.setattr(melody, "preview_paths", lambda split: [tmp_path])
    song = Song("one", torch.stack([sung, noise])[:, None], RATE)
    monkeypatch.setattr(melody, "read_preview", lambda path: song)
    monkeypatch.setattr(melody, "pyin", lambda audio: clip.reference)
    monkeypatch.setattr(melody, "costs", lambda repeats: {"tracker": 0.01})
    ours = {name: f for name, f in trackers.trackers().items() if name.startswith("`salience`")}
    monkeypatch.setattr(melody, "trackers", lambda: ours)
    threads = torch.get_num_threads()
    try:
        text = melody.run(argparse.Namespace(split="odd", singer="amy", repeats=2))
    finally:
        torch.set_num_threads(threads)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    accuracies = [row for row in rows if len(row) == 6 and row[0].startswith("`salience`")]
    assert len(accuracies) == 2
    assert all(float(row[1]) > 0.9 for row in accuracies)
    assert ["first version of `melody`", "4.12", "5.42"] in rows
    assert any(row[0].startswith("our tracker on the clean vocals") for row in rows)
    assert "Essentia is not installed" in text
    assert tp.__version__ in text
