"""The benchmarks' own parts: choice, data, tables, timing. Speeds are measured, not tested."""

import argparse

import pytest
import torch

import torchprim as tp
from benchmarks import cpu, data, quality, timing
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.sound import synthetic_music
from torchprim import audio
from torchprim.evaluation.methods import BUILT_IN, row_title


def test_choice_of_a_benchmark(capsys):
    assert main([]) == 2 and "which benchmark?" in capsys.readouterr().err
    assert main(["cpo"]) == 2
    said = capsys.readouterr().err
    assert "there is no benchmark 'cpo'" in said and all(name in said for name in BENCHMARKS)
    assert main(["--help"]) == 0 and "python -m benchmarks NAME" in capsys.readouterr().out


def test_missing_data_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCHPRIM_DATA", str(tmp_path))
    out = tmp_path / "out.md"
    assert main(["quality", "--out", str(out)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "TORCHPRIM_DATA" in line and str(tmp_path) in line and not out.exists()


def test_split_counts_from_zero(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHPRIM_DATA", str(tmp_path))
    folder = tmp_path / "musdb18_7s" / "train"
    folder.mkdir(parents=True)
    for name in "dbaec":
        (folder / f"{name}.stem.mp4").touch()
    names = {split: [p.name[0] for p in data.preview_paths(split)] for split in data.SPLITS}
    assert names == {"even": ["a", "c", "e"], "odd": ["b", "d"], "all": list("abcde")}
    with pytest.raises(ValueError, match="split must be one of even, odd, all, got 'test'"):
        data.preview_paths("test")


def scaled_vocals(song, gain):
    return song._replace(sources=torch.stack([gain * song.vocals, song.accompaniment]))


def test_quality_on_one_song(tmp_path, monkeypatch):
    folder = tmp_path / "musdb18_7s" / "train"
    folder.mkdir(parents=True)
    (folder / "one.stem.mp4").symlink_to(audio.demo_song())
    monkeypatch.setenv("TORCHPRIM_DATA", str(tmp_path))
    song = data.read_preview(data.preview_paths("all")[0])
    mixture, _ = audio.load_audio(audio.demo_song())
    torch.testing.assert_close(song.mixture, mixture, atol=1e-5, rtol=0)
    short = song._replace(sources=song.sources[..., : 2 * 44100])
    quieter, silent = (scaled_vocals(short, gain) for gain in (0.5, 0.0))
    monkeypatch.setattr(quality, "preview_paths", lambda split: [split] * 3)
    songs = iter([short, quieter, silent._replace(name="quiet one")])
    monkeypatch.setattr(quality, "read_preview", lambda path: next(songs))
    threads = torch.get_num_threads()
    options = argparse.Namespace(split="all", device="cpu", threads=threads, out=tmp_path / "q.md")
    text = quality.run(options)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert [row[0].strip("| ") for row in rows[1:]] == [row_title(name) for name in BUILT_IN]
    assert "silent: quiet one" in text and "nan" not in text
    assert (tmp_path / "q.png").stat().st_size > 10_000
    monos = [song.to_mono() for song in (short, quieter)]
    want = sum(tp.sd_sdr(song.vocals, song.mixture).item() for song in monos) / 2
    assert float(rows[1][1]) == pytest.approx(want, abs=0.006)


def test_quantiles():
    assert timing.quantiles([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == pytest.approx((2.0, 3.5, 5.0))
    calls = []
    assert timing.timed(lambda: calls.append(0), 3).p50 < 1 and len(calls) == 4


def test_child_is_measured_and_not_its_parent():
    held = torch.ones(100_000_000)  # 400 MB here
    usage = timing.run_child("x = b'a' * 150_000_000")
    assert 150e6 < usage.peak_bytes < 200e6 and usage.seconds > 0 and held[0] == 1
    with pytest.raises(RuntimeError, match=r"failed \(3\): no reason"):
        timing.run_child("print('no reason'); raise SystemExit(3)")


def test_synthetic_music_is_music():
    first, again, other = (synthetic_music(3.0, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (3 * 44100,) and first.abs().max() == 1


def test_hpss_is_compared_with_its_equal(monkeypatch):
    magnitude = tp.stft(synthetic_music(0.5)).abs()
    cpu.check_equal(magnitude)
    monkeypatch.setattr(cpu, "librosa_hpss", lambda m: 1 - cpu.rows_hpss(m))
    with pytest.raises(RuntimeError, match="nothing to compare"):
        cpu.check_equal(magnitude)
