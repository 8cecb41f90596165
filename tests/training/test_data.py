"""Data of a training: labels come before the streams of remixes, errors of the split before labels."""

import dataclasses

import pytest
import soundfile
import torch

import torchprim as tp
from tests.support import small_bank
from tests.support.small_bank import GEOMETRY, RATE, HalvingTeacher, tone
from torchprim.bootstrap.remix import RemixStream
from torchprim.training import data
from torchprim.training.data import DataSettings, prepare
from torchprim.training.ranks import Ranks

music = small_bank.music  # not the session's: a test changes its songs
RANKS = Ranks(0, 1, torch.device("cpu"))
REMIX = tp.RemixSettings(batch_size=2, frames=20, coherent=1.0, slots=2, geometry=GEOMETRY)


@pytest.fixture
def settings(music, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "find_teacher", lambda *_: HalvingTeacher())
    return {"audio": (str(music),), "cache": str(tmp_path / "cache"), "validation": 0.3}


def test_no_stream_is_built_before_labels_exist(settings, tmp_path, monkeypatch):
    built, built_before_labels = [], []
    build, label = RemixStream.__init__, data.label

    def counted_build(self, *arguments, **keywords):
        built.append(self)
        build(self, *arguments, **keywords)

    def counted_label(*arguments, **keywords):
        built_before_labels.append(len(built))
        return label(*arguments, **keywords)

    monkeypatch.setattr(RemixStream, "__init__", counted_build)
    monkeypatch.setattr(data, "label", counted_label)
    prepared = prepare(DataSettings(**settings), REMIX, tmp_path, 0, RANKS)
    assert built_before_labels == [0]
    assert built == [*prepared.train.streams, *prepared.validation.streams]
    assert len(built) == 2
    assert prepared.train.batch(0).mixture.shape == (2, 19 * GEOMETRY.hop_length)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 10_000}, "no trusted segment is as long as 10000 frames"),
        ({"coherent": 0.0}, "pairs need two songs"),
    ],
)
def test_splits_are_checked_before_labels(settings, tmp_path, monkeypatch, changes, message):
    def refuse(*_, **__):
        raise AssertionError("labelled")

    monkeypatch.setattr(data, "label", refuse)
    if "coherent" in changes:
        settings["audio"] = (f"{settings['audio'][0]}/a.wav",)
    with pytest.raises(ValueError, match=message):
        prepare(DataSettings(**settings), dataclasses.replace(REMIX, **changes), tmp_path, 0, RANKS)


def test_other_music_than_before_is_told(settings, music, tmp_path, capsys):
    def prepared():
        prepare(DataSettings(**settings), REMIX, tmp_path / "run", 0, RANKS)
        said = [line for line in capsys.readouterr().err.splitlines() if "other music" in line]
        return [line.replace(f"{music}/", "") for line in said]

    assert prepared() == prepared() == []
    (music / "a.wav").rename(music / "d.wav")
    write_tone(music / "b.wav", tone(7, 900, 0.1))
    told = "1 song gone (a.wav), 1 song new (d.wav), 1 song changed (b.wav)"
    assert prepared() == [f"other music than this run had before: {told}"]
    assert prepared() == []
    # Lines of other types, as of another program, are no songs.
    (tmp_path / "run" / "songs.jsonl").write_text(
        'null\n{"song": 1}\n{"song": "x", "kind": "y", "segments": [1]}\n'
    )
    assert prepared() == []


def write_tone(path, audio):
    soundfile.write(path, audio.numpy(), RATE, subtype="FLOAT")


def test_parts_of_killed_runs_are_removed(settings, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".last.pt.99999999.partial").touch()
    prepare(DataSettings(**settings), REMIX, tmp_path / "run", 0, RANKS)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["labels.jsonl", "songs.jsonl"]


@pytest.mark.parametrize(
    ("path", "reason"), [("FOLDER", "Is a directory"), ("/dev/zero", "not a regular file")]
)
def test_labels_that_cannot_be_written_are_named_before_the_music_is_decoded(
    settings, tmp_path, path, reason
):
    path = path.replace("FOLDER", str(tmp_path))
    with pytest.raises(tp.AudioError, match=f"^{path}: cannot be written: {reason}"):
        prepare(DataSettings(**settings, labels=path), REMIX, tmp_path / "run", 0, RANKS)
    assert not (tmp_path / "cache").exists()


def test_share_of_stems():
    with pytest.raises(ValueError, match=r"stems_share must lie in \[0, 1\), got 1"):
        DataSettings(stems_share=1)
