"""Data of a training: labels come before the streams of remixes, errors of the split before labels."""

import dataclasses

import pytest
import torch

import torchprim as tp
from tests.support.small_bank import GEOMETRY, HalvingTeacher
from torchprim.bootstrap.remix import RemixStream
from torchprim.training import data
from torchprim.training.data import DataSettings, prepare
from torchprim.training.ranks import Ranks

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


def test_share_of_stems():
    with pytest.raises(ValueError, match=r"stems_share must lie in \[0, 1\), got 1"):
        DataSettings(stems_share=1)
