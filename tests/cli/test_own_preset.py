"""Presets of one's own on the command line: a file of TOML, an ensemble in a file of Python."""

import json
from pathlib import Path

import pytest

from tests.support.sound_files import noise, write
from torchprim.cli.main import main

CODE = """
import torchprim as tp

def loud(mixture):
    return (mixture.magnitude() > {level}).float()

ensemble = tp.Preset("mine", {{"loud": 1.0, "hpss": 1.0}}, cues={{"loud": loud}})
alone = tp.Preset("alone", {{"loud": 1.0}}, cues={{"loud": loud}})
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path / "song.wav", noise(44100))
    (tmp_path / "mine.py").write_text(CODE.format(level=1.0))
    (tmp_path / "mine.toml").write_text('[weights]\nhpss = 1\n[cues.loud]\ncue = "mine.py:loud"\n')
    return tmp_path


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def run(*arguments):
    return main([*arguments, "--device", "cpu"])


@pytest.mark.parametrize("preset", ["mine.py:ensemble", "mine.toml"])
def test_separate_with_it_and_again_when_its_code_has_changed(preset, folder, capsys):
    assert run("separate", "song.wav", "--preset", preset) == 0
    (record,) = lines("separated/separations.jsonl")
    assert record["preset"] == preset and record["ensemble"].startswith("pcl mine ")
    assert run("separate", "song.wav", "--preset", preset) == 0
    assert "0 separated, 1 done before" in capsys.readouterr().out
    (folder / "mine.py").write_text(CODE.format(level=2.0))
    assert run("separate", "song.wav", "--preset", preset) == 1
    assert f"of ensemble {record['ensemble']}, not pcl mine" in capsys.readouterr().err
    assert run("separate", "song.wav", "--preset", preset, "--overwrite") == 0
    assert run("separate", "song.wav", "--preset", preset, "--method", "loud", "--overwrite") == 0
    assert run("separate", "song.wav", "--preset", preset, "--method", "quiet") == 2
    assert "unknown method 'quiet'" in capsys.readouterr().err


def test_label_with_it(folder, capsys):
    assert run("label", "song.wav", "--out", "l.jsonl", "--preset", "mine.toml") == 0
    (record,) = lines("l.jsonl")
    assert record["teacher"].startswith("pcl mine ")
    (folder / "mine.py").write_text(CODE.format(level=2.0))
    assert run("label", "song.wav", "--out", "l.jsonl", "--preset", "mine.toml") == 0
    assert "1 segments labelled, 0 before" in capsys.readouterr().out.splitlines()[-1]


def test_report_of_it(folder):
    assert run("report", "song.wav", "--out", "pages", "--preset", "mine.py:ensemble") == 0
    page = (folder / "pages" / "song.html").read_text(encoding="utf-8")
    assert "preset mine" in page and "loud 1" in page
    assert run("report", "song.wav", "--out", "pages", "--preset", "mine.py:alone") == 0
    page = (folder / "pages" / "song.html").read_text(encoding="utf-8")
    assert "preset alone" in page and "Embedding" in page


@pytest.mark.parametrize("command", [("separate",), ("label", "--out", "l.jsonl"), ("report", "--out", "p")])
@pytest.mark.parametrize(
    ("preset", "status", "error"),
    [
        ("beast", 2, "argument --preset: must be best, paper, companion, FILE.toml, or package.module:name"),
        ("gone.toml", 1, "error: gone.toml: no such file or directory"),
        ("mine.py:gone", 1, "error: mine.py:gone: there is no 'gone' in mine.py"),
        ("torn.toml", 1, "error: torn.toml: is no TOML: "),
    ],
)
def test_errors_are_one_line(command, preset, status, error, folder, capsys):
    (folder / "torn.toml").write_text("beta = = 3")
    assert run(*command, "song.wav", "--preset", preset) == status
    said = capsys.readouterr()
    assert error in said.err and "Traceback" not in said.err


def test_a_cue_without_an_identity_is_named(folder, capsys):
    code = CODE.format(level="STATE.__len__()").replace("def", "STATE = iter(())\n\ndef", 1)
    (folder / "mine.py").write_text(code)
    for command in (("separate",), ("label", "--out", "l.jsonl")):
        assert run(*command, "song.wav", "--preset", "mine.py:ensemble") > 0
        said = capsys.readouterr().err
        assert "cue 'loud' has no stable identity: 'STATE', which loud reads, is a tuple_iterator" in said


def test_a_bad_mask_is_an_error_of_the_song(folder, capsys):
    (folder / "mine.py").write_text(CODE.format(level=1.0).replace("float()", "float() * 2"))
    assert run("separate", "song.wav", "--preset", "mine.py:ensemble") == 1
    assert "error: song.wav: mask of cue 'loud' must be at most" in capsys.readouterr().err
    assert run("label", "song.wav", "--out", "l.jsonl", "--preset", "mine.py:ensemble") == 1
    assert "error: mask of cue 'loud' must be at most" in capsys.readouterr().err
