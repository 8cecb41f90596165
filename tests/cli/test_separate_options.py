"""`torchprim separate`: formats, names of the stems, one stem, tracks of a film, standard input, URLs."""

import io
import os
import sys
from types import SimpleNamespace

import av
import numpy as np
import pytest

from tests.support.separating import both, lines, separate, tree
from tests.support.sound_files import encode, noise, write
from torchprim.audio.find import OwnOutput, find_files
from torchprim.audio.load import load_audio
from torchprim.cli.main import main

STEMS = ("accompaniment", "vocals")


@pytest.fixture
def song(tmp_path):
    (tmp_path / "in").mkdir()
    return write(tmp_path / "in" / "song.wav", noise(5000), subtype="FLOAT")


def test_stems_go_to_a_folder_of_their_own_by_default(song, tmp_path, halves, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert separate(song) == 0
    assert tree(tmp_path / "separated") == both("song")
    assert separate(song, "-o", "other") == 0 and tree(tmp_path / "other") == both("song")


def test_mp3_has_the_bitrate_and_the_length(song, tmp_path, halves):
    out = tmp_path / "out"
    assert separate(song, "--out", out, "--format", "mp3", "--bitrate", "128") == 0
    assert tree(out) == ["separations.jsonl", *(f"song/{stem}.mp3" for stem in STEMS)]
    for stem in STEMS:
        assert load_audio(out / "song" / f"{stem}.mp3")[0].shape == (2, 5000)
        with av.open(str(out / "song" / f"{stem}.mp3")) as container:
            assert container.streams.audio[0].bit_rate == 128_000
    assert (lines(out)[0]["format"], lines(out)[0]["bitrate"]) == ("mp3", 128)
    assert not find_files([out], exclude=OwnOutput())


def test_one_stem_alone_and_then_the_other(song, tmp_path, halves, capsys):
    out = tmp_path / "out"
    assert separate(song, "--out", out, "--only", "vocals") == 0
    assert tree(out) == ["separations.jsonl", "song/vocals.wav"]
    assert f"-> {out}/song/vocals.wav" in capsys.readouterr().out
    assert separate(song, "--out", out, "--only", "vocals") == 0 and halves.songs == 1
    assert separate(song, "--out", out) == 0 and halves.songs == 2
    assert tree(out) == both("song")
    assert separate(song, "--out", out, "--only", "accompaniment") == 0 and halves.songs == 2
    # A stem of the song as it was does not stay beside one of the song as it is.
    write(song, noise(300))
    assert separate(song, "--out", out, "--only", "vocals") == 0
    for stem in STEMS:
        assert load_audio(out / "song" / f"{stem}.wav")[0].shape == (2, 300)


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{song}_({stem})", ("{}_(accompaniment).wav", "{}_(vocals).wav")),
        ("{stem}/{song}", ("accompaniment/{}.wav", "vocals/{}.wav")),
        ("x/{song}{{{stem}}}", ("x/{}{{accompaniment}}.wav", "x/{}{{vocals}}.wav")),
    ],
)
def test_stems_are_named_by_a_template(tmp_path, halves, template, names):
    music = tmp_path / "music"
    (music / "sub").mkdir(parents=True)
    for name in ("a.wav", "sub/b.wav"):
        write(music / name, noise(100))
    out = music / "out"  # inside the music: what is written is no music, whatever its name
    for _ in range(2):
        assert separate(music, "--out", out, "--name", template) == 0
    expected = [name.format(song) for name in names for song in ("a", "sub/b")]
    assert tree(out) == sorted([*expected, "separations.jsonl"]) and halves.songs == 2


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{artist}/{stem}", "has no field {artist}; there are {song} and {stem}"),
        ("{song.parent}/{stem}", "has no field {song.parent}"),
        ("{song!r}/{stem}", "has no field {song}"),
        ("{}/{stem}", "has no field {}"),
        ("{song", "expected '}' before end of string"),
        ("{song}", "'{song}' has no {stem}: stems would have one name"),
        ("../{song}/{stem}", "must name files below --out"),
        ("/{song}/{stem}", "must name files below --out"),
        ("{song}/../../{stem}", "must name files below --out"),
        ("", "has no {stem}"),
        ("separations.jsonl/{song}{stem}", "separations.jsonl is the name of the records"),
    ],
)
def test_templates_that_cannot_be_used_are_refused(song, tmp_path, halves, capsys, template, said):
    assert separate(song, "--out", tmp_path / "out", "--name", template) == 2
    usage, *_, error = capsys.readouterr().err.splitlines()
    assert usage.startswith("usage: torchprim separate ")
    assert error.startswith("torchprim separate: error: argument --name: ") and said in error
    assert not (tmp_path / "out").exists() and halves.songs == 0


def test_a_name_without_the_song_is_for_one_song(song, tmp_path, halves, capsys):
    other = write(tmp_path / "in" / "other.wav", noise(100))
    assert separate(song, other, "--out", tmp_path / "out", "--name", "{stem}") == 2
    assert "'{stem}' has no {song}: stems would have one name" in capsys.readouterr().err
    assert separate(song, "--out", tmp_path / "out", "--name", "{stem}") == 0
    assert tree(tmp_path / "out") == ["accompaniment.wav", "separations.jsonl", "vocals.wav"]
    assert separate(other, "--out", tmp_path / "out", "--name", "{stem}") == 1
    assert f"vocals.wav: is of {song}; --overwrite replaces it" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_a_stem_never_replaces_an_input(song, tmp_path, halves, capsys, options):
    before = song.read_bytes()
    words = ("--out", tmp_path / "in", "--only", "vocals", "--name", "{song}")
    assert separate(tmp_path / "in", *words, *options) == 1
    said = capsys.readouterr().err
    assert "song.wav: is of no record" in said or "its stem song.wav would replace an input" in said
    assert song.read_bytes() == before and halves.songs == 0


def test_a_file_that_no_run_wrote_is_not_replaced_under_a_name_of_ones_own(song, tmp_path, halves, capsys):
    mine = write(tmp_path / "out.wav", noise(50))
    words = ("--out", tmp_path, "--only", "vocals", "--name", "out")
    assert separate(song, *words) == 1
    assert capsys.readouterr().err.startswith(f"error: {mine}: is of no record; --overwrite replaces it")
    assert load_audio(mine)[0].shape == (2, 50)
    assert separate(song, *words, "--overwrite") == 0 and load_audio(mine)[0].shape == (2, 5000)


def test_a_track_of_a_film_is_chosen(tmp_path, halves, capsys):
    tracks = [np.full((2, 8820), level, np.float32) for level in (0.1, 0.2)]
    film = encode(tmp_path / "film.mkv", tracks, 44100, "flac")
    for number, level in ((1, 0.1), (2, 0.2)):
        out = tmp_path / f"{number}"
        assert separate(film, "--out", out, "--audio-track", number) == 0
        vocals = load_audio(out / "film" / "vocals.wav")[0]
        assert abs(2 * vocals[:, 1000:8000].mean().item() - level) < 1e-3
    capsys.readouterr()
    assert separate(film, "--out", tmp_path / "3", "--audio-track", "3") == 1
    assert capsys.readouterr().err == f"error: {film}: has no audio track 3, only 2\n"
    stems = encode(tmp_path / "x.stem.mp4", [tracks[0]] * 5, 44100, "aac")
    assert separate(stems, "--out", tmp_path / "4", "--audio-track", "2") == 0
    assert abs(2 * load_audio(tmp_path / "4" / "x" / "vocals.wav")[0][:, 3000:6000].mean() - 0.1) < 0.02


def test_standard_input_is_a_song(song, tmp_path, halves, capsys, monkeypatch):
    def pipe(content, terminal=False):
        stream = SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: terminal)
        monkeypatch.setattr(sys, "stdin", stream)

    out = tmp_path / "out"
    pipe(song.read_bytes())
    assert separate("-", song, "--out", out) == 0
    assert tree(out) == both("song", "stdin") and len(os.listdir(out)) == 3
    assert "standard input: 0.1 s" in capsys.readouterr().out
    pipe(song.read_bytes())
    assert separate("-", "--out", out) == 1
    assert "stdin/vocals.wav: is of an earlier standard input; --overwrite" in capsys.readouterr().err
    pipe(b"no sound")
    assert separate("-", "--out", out, "--overwrite") == 1
    assert capsys.readouterr().err.startswith("error: standard input: cannot be decoded as sound")
    assert tree(out) == both("song", "stdin")
    pipe(b"", terminal=True)
    assert separate("-", "--out", out) == 2


@pytest.mark.parametrize("command", ["separate", "pitch", "report", "label"])
def test_a_url_is_told_to_be_one(tmp_path, capsys, halves, command):
    url = "https://example.org/song.mp3"
    assert main([command, url, "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.endswith("/example.org/song.mp3: is a URL: download it first\n")


def test_films_are_found_in_folders(tmp_path, halves):
    for name in ("a.mkv", "b.webm", "c.mov", "d.aiff", "e.caf"):
        codec = {"mkv": "flac", "webm": "libopus", "mov": "aac"}.get(name[2:])
        if codec:
            encode(tmp_path / name, noise(9600), 48000, codec)
        else:
            write(tmp_path / name, noise(100))
    assert separate(tmp_path, "--out", tmp_path / "out") == 0
    assert tree(tmp_path / "out") == both(*"abcde")
