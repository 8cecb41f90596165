"""`torchprim pitch`: output files and refusals."""

import csv
import warnings

import pytest
import torch
from matplotlib.figure import Figure

from tests.support.oracles import voice
from torchprim.audio.write import save
from torchprim.cli.main import main
from torchprim.primitives.pitch.track_pitch import track_pitch, track_song

RATE = 44100


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    path = tmp_path_factory.mktemp("pitch") / "a 'song' ü.wav"
    save(path, torch.cat([torch.zeros(RATE), voice(247.0, 2.0)])[None], RATE)
    return path


def test_table_and_picture(song, tmp_path, capsys):
    assert main(["pitch", str(song), "--out", str(tmp_path / "new" / "folder"), "--device", "cpu"]) == 0
    folder = tmp_path / "new" / "folder"
    assert sorted(p.name for p in folder.iterdir()) == ["a 'song' ü.pitch.csv", "a 'song' ü.pitch.png"]
    assert (folder / "a 'song' ü.pitch.png").read_bytes().startswith(b"\x89PNG")
    with (folder / "a 'song' ü.pitch.csv").open(newline="") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert list(rows[0]) == ["time", "hz", "voicing", "voiced"]
    assert all(row["voiced"] == (row["voicing"] > 0.5) for row in rows if abs(row["voicing"] - 0.5) > 1e-3)
    assert {row["voiced"] for row in rows} == {0.0, 1.0}
    assert len(rows) == 1 + 3 * RATE // 512
    assert rows[100]["time"] == pytest.approx(100 * 512 / RATE, abs=1e-4)
    sung = [row for row in rows if 1.2 < row["time"] < 2.8]
    assert all(row["voicing"] > 0.5 and abs(row["hz"] - 247) < 8 for row in sung)
    assert all(row["voicing"] < 0.5 for row in rows if row["time"] < 0.8)
    said = capsys.readouterr()
    assert "pitch.csv" in said.out and "% of the frames are voiced: voicing above 0.5" in said.err


@pytest.mark.parametrize("name", ["costs $5 or $6", "歌", 40 * "long "])
def test_picture_has_title_legend_and_colour_bar(tmp_path, monkeypatch, name):
    """A title is no formula, and what the font lacks is no warning."""
    figures, real = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), real(self, *a, **k)))
    save(tmp_path / f"{name}.wav", voice(247.0, 1.0)[None], RATE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words = [str(tmp_path / f"{name}.wav"), "--out", str(tmp_path), "--device", "cpu"]
        assert main(["pitch", *words]) == 0
    (figure,) = figures
    axes, bar = figure.axes
    title = axes.get_title(loc="left")
    assert title == name if len(name) < 100 else len(title) == 100 and title.endswith(" …")
    assert bar.get_ylabel() == "dB below the loudest"
    (text,) = axes.get_legend().get_texts()
    assert text.get_text() == "pitch, where voiced: voicing above 0.5"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--f-min", "900", "--f-max", "300"], 1, "f_min and f_max must satisfy"),
        (["--f-max", "90000"], 1, "half the sample rate"),
        (["--start", "7"], 2, "--start must lie in [0, 3.00) s, got 7"),
        (["--method", "yin"], 2, "invalid choice"),
    ],
)
def test_bad_arguments(song, tmp_path, capsys, arguments, status, message):
    assert main(["pitch", str(song), "--out", str(tmp_path / "out"), "--device", "cpu", *arguments]) == status
    text = capsys.readouterr().err
    assert message in text
    assert "Traceback" not in text


def test_missing_file_and_unwritable_folder(song, tmp_path, capsys):
    assert main(["pitch", str(tmp_path / "none.wav"), "--out", str(tmp_path)]) == 1
    assert "none.wav" in capsys.readouterr().err
    (tmp_path / "taken").write_text("a file")
    assert main(["pitch", str(song), "--out", str(tmp_path / "taken"), "--device", "cpu"]) == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", [0.01, 1.4, 1.5, 1.6, 4.3])
def test_pieces_of_a_song_join(seconds):
    song = voice(262.0, 5.0)[: int(seconds * RATE)]
    pieces = track_song(song, RATE, piece_seconds=1.5, overlap_seconds=0.5)
    whole = track_pitch(song, RATE)
    assert torch.equal(pieces.times, whole.times)
    assert pieces.f0.shape == whole.f0.shape
    if seconds > 1:
        assert (1200 * torch.log2(pieces.f0 / 262.0)).abs()[8:-8].max() < 40
