"""`torchprim report FILE --out DIR`: the page, and errors for bad input."""

import warnings

import pytest
import soundfile
import torch

from tests.support.page_reader import Page
from torchprim.cli.main import main

RATE = 44100


@pytest.fixture(scope="module")
def song_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("in") / "Ünïcode 'song' #1.wav"
    left = 0.3 * torch.randn(2 * RATE, generator=torch.Generator().manual_seed(0))
    soundfile.write(path, torch.stack([left, 0.8 * left]).T.numpy(), RATE)
    return path


def test_command(song_file, tmp_path, capsys):
    arguments = ["report", str(song_file), "--out", str(tmp_path / "a" / "b"), "--device", "cpu"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main([*arguments, "--preset", "paper", "--cues", "hpss,2dft-m"]) == 0
    target = tmp_path / "a" / "b" / "Ünïcode 'song' #1.html"
    assert capsys.readouterr().out.strip() == str(target)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    text = "".join(Page(target.read_text(encoding="utf-8")).text)
    assert "Ünïcode 'song' #1" in text and "preset paper" in text and "HPSS and 2DFT-M" in text


def failure(arguments, capsys):
    status = main(["report", *map(str, arguments)])
    lines = capsys.readouterr().err.strip().splitlines()
    return status, lines


def test_command_errors_are_one_line(song_file, tmp_path, capsys):
    empty = tmp_path / "empty.wav"
    empty.touch()
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    low = tmp_path / "low.wav"
    soundfile.write(low, torch.zeros(99).numpy(), 1)
    for path in (tmp_path / "missing.wav", empty, text, tmp_path, low):
        status, lines = failure([path, "--out", tmp_path / "out"], capsys)
        assert status == 1 and len(lines) == 1 and str(path) in lines[0]
    assert not (tmp_path / "out").exists()
    status, lines = failure([song_file, "--out", empty / "x"], capsys)
    assert status == 1 and len(lines) == 1 and str(empty) in lines[0]


def test_long_names_are_cut(tmp_path):
    """80 characters of 3 bytes: with its suffix the file's name is as long as a file system allows."""
    song = tmp_path / f"{80 * '歌'}{11 * 'x'}.wav"
    soundfile.write(song, 0.1 * torch.randn(9000).numpy(), RATE)
    for command, suffixes in {"report": [".html"], "pitch": [".pitch.csv", ".pitch.png"]}.items():
        out = tmp_path / command
        assert main([command, str(song), "--out", str(out), "--device", "cpu"]) == 0
        assert sorted(path.name for path in out.iterdir()) == [80 * "歌" + suffix for suffix in suffixes]


def test_command_survives_what_nobody_expected(song_file, tmp_path, capsys, monkeypatch):
    (tmp_path / f"{song_file.stem}.html").write_text("an earlier report")

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("torchprim.report.build.make_report", fail)
    status, lines = failure([song_file, "--out", tmp_path], capsys)
    assert status == 1 and lines == [f"error: {song_file}: not enough memory"]
    (left,) = tmp_path.iterdir()
    assert left.read_text() == "an earlier report"


def test_command_usage(song_file, tmp_path, capsys):
    out = ["--out", tmp_path]
    for wrong in (
        ["--cues", "hpss"],
        ["--cues", "a,b"],
        ["--start", "99"],
        ["--start", "nan"],
        ["--preset", "x"],
    ):
        status, lines = failure([song_file, *out, *wrong], capsys)
        assert status == 2 and "error:" in lines[-1], wrong
    assert failure([song_file], capsys)[0] == 2
    assert not list(tmp_path.iterdir())
