"""`torchprim separate --stems 4`: four stems, one of them, what other runs wrote, and what cannot be."""

import pytest
import torch

from tests.support.separating import both, lines, separate, tree
from tests.support.sound_files import noise, write
from torchprim import sources
from torchprim.audio.find import OwnOutput, find_files
from torchprim.audio.load import load_audio
from torchprim.audio.stems import find_stem_songs
from torchprim.ensemble.four import FOUR
from torchprim.errors import AudioError


@pytest.fixture
def song(tmp_path):
    (tmp_path / "in").mkdir()
    return write(tmp_path / "in" / "song.wav", noise(5000), subtype="FLOAT")


def test_the_names_are_those_of_the_preset():
    assert FOUR.sources == sources.FOUR


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_four_stems_add_up_to_the_song(song, tmp_path, capsys, suffix):
    out = tmp_path / "out"
    words = ("--stems", 4, "--format", suffix)
    assert separate(song, "--out", out, *words) == 0
    assert tree(out) == ["separations.jsonl", *(f"song/{name}.{suffix}" for name in sorted(sources.FOUR))]
    stems = [load_audio(out / "song" / f"{name}.{suffix}")[0] for name in sources.FOUR]
    (record,) = lines(out)
    torch.testing.assert_close(sum(stems) / record["gain"], load_audio(song)[0], atol=1e-5, rtol=0)
    assert record["preset"] == "four" and list(record["stems"]) == list(sources.FOUR)
    assert "checkpoint" not in record
    # They are done, and are neither music nor true stems.
    assert separate(song, "--out", out, *words) == 0
    assert "0 separated, 1 done before" in capsys.readouterr().out
    assert not find_files([out], exclude=OwnOutput())
    with pytest.raises(AudioError, match="no song with stems"):
        find_stem_songs([out])


def test_one_stem_alone_and_then_all(song, tmp_path):
    out = tmp_path / "out"
    assert separate(song, "--out", out, "--stems", 4, "--only", "bass", "--name", "{song}-{stem}") == 0
    assert tree(out) == ["separations.jsonl", "song-bass.wav"]
    assert separate(song, "--out", out, "--stems", 4, "--name", "{song}-{stem}") == 0
    assert tree(out) == ["separations.jsonl", *(f"song-{name}.wav" for name in sorted(sources.FOUR))]


def test_two_stems_are_not_replaced_by_four_without_being_asked(song, tmp_path, capsys):
    out = tmp_path / "out"
    assert separate(song, "--out", out, "--method", "hpss") == 0
    assert separate(song, "--out", out, "--stems", 4) == 1
    said = capsys.readouterr().err
    assert "preset best, not four" in said and "--overwrite replaces it" in said
    assert tree(out) == both("song")
    assert separate(song, "--out", out, "--stems", 4, "--overwrite") == 0
    assert tree(out) == ["separations.jsonl", *(f"song/{name}.wav" for name in sorted(sources.FOUR))]
    assert separate(song, "--out", out, "--method", "hpss", "--overwrite") == 0
    assert tree(out) == both("song")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stems", "3"], "argument --stems: invalid choice: 3"),
        (["--stems", "four"], "argument --stems: invalid int value: 'four'"),
        (["--stems", "4", "--preset", "best"], "argument --preset: is of two stems, and --stems 4 was given"),
        (["--stems", "4", "--method", "pcl"], "argument --method: is of two stems"),
        (
            ["--stems", "4", "--only", "accompaniment"],
            "argument --only: with --stems 4 there are drums, bass, other, vocals",
        ),
        (["--only", "bass"], "argument --only: with --stems 2 there are vocals, accompaniment"),
    ],
)
def test_options_that_exclude_each_other(song, tmp_path, halves, capsys, words, said):
    assert separate(song, "--out", tmp_path / "out", *words) == 2
    assert said in capsys.readouterr().err and halves.songs == 0
    assert not (tmp_path / "out").exists()


def test_an_ensemble_of_ones_own_of_three_stems(song, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "import torchprim as tp\n"
        'centres = {"steady": (1, 0), "low": (1, 1), "strokes": (0, 0)}\n'
        'three = tp.StemPreset("three", centres, weights={"hpss": 1.0, "low": 1.0})\n'
    )
    preset = ("--preset", f"{tmp_path / 'mine.py'}:three")
    assert separate(song, "--out", tmp_path / "out", *preset) == 0
    names = ["low", "steady", "strokes"]
    assert tree(tmp_path / "out") == ["separations.jsonl", *(f"song/{name}.wav" for name in names)]
    stems = [load_audio(tmp_path / "out" / "song" / f"{name}.wav")[0] for name in names]
    torch.testing.assert_close(sum(stems), load_audio(song)[0], atol=1e-5, rtol=0)
    assert separate(song, "--out", tmp_path / "out", *preset) == 0
    assert "0 separated, 1 done before" in capsys.readouterr().out
    for words, said in (
        (("--stems", "4"), "argument --preset: is of two stems, and --stems 4 was given"),
        (("--stems", "2"), "is of steady, low, strokes, got 2"),
        (("--method", "hpss"), "is of steady, low, strokes, got hpss"),
        (("--only", "vocals"), "is of steady, low, strokes, got 'vocals'"),
    ):
        assert separate(song, "--out", tmp_path / "out", *preset, *words) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
