"""Labels: cached line by line, resumed after a kill, sharded over ranks."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import soundfile
import torch

import torchprim as tp
from tests.support.small_bank import GEOMETRY, RATE, HalvingTeacher, tone
from torchprim.bootstrap.labels import Labels
from torchprim.files import read_json_lines


def test_labels_are_cached_and_resumed(bank, tmp_path):
    path, teacher = tmp_path / "labels.jsonl", HalvingTeacher()
    labels = tp.label(bank, teacher, path, progress=False)
    assert teacher.separated == 7
    lines = path.read_text().splitlines()
    assert len(lines) == 7
    path.write_text("\n".join(lines[:3]) + "\n" + lines[3][:20])  # killed while writing the fourth
    again = tp.label(bank, teacher, path, progress=False)
    assert teacher.separated == 7 + 7  # the first batch lacks a line: all of it is separated again
    assert torch.equal(again.confidence, labels.confidence)
    assert [json.loads(line) for line in path.read_text().splitlines()] == read_json_lines(path)
    assert len(read_json_lines(path)) == 7
    teacher.identity = "another"
    tp.label(bank, teacher, path, progress=False)
    assert teacher.separated == 14 + 7


def test_labels_of_two_processes_at_a_time_are_kept_once(bank, tmp_path):
    path = tmp_path / "labels.jsonl"

    class Beside(HalvingTeacher):
        def forward(self, *arguments, **settings):
            if not self.separated:  # meanwhile, another one
                tp.label(bank, HalvingTeacher(), path, progress=False)
            return super().forward(*arguments, **settings)

    tp.label(bank, Beside(), path, progress=False)
    records = read_json_lines(path)
    assert len(records) == len({(record["song"], record["start"]) for record in records}) == 7


def test_labels_of_two_ranks(bank, tmp_path):
    path, teacher = tmp_path / "labels.jsonl", HalvingTeacher()
    first = tp.label(bank, teacher, path, rank=0, world=2, progress=False)
    assert torch.isnan(first.confidence).nonzero().flatten().tolist() == [4, 5]
    second = tp.label(bank, teacher, path, rank=1, world=2, progress=False)
    assert not torch.isnan(second.confidence).any()
    whole = tp.label(bank, teacher, path, progress=False)
    assert torch.equal(whole.confidence, second.confidence)
    assert teacher.separated == 7


def test_trusted_segments():
    confidence = torch.tensor([0.5, 0.1, math.nan, 0.4, 0.2, 0.3])
    labels = Labels(confidence, confidence, confidence)
    assert labels.trusted(0.0, 1.0) == [0, 1, 3, 4, 5]
    assert labels.trusted(0.4) == [0, 3, 5]
    quartiles = [labels.trusted(q / 4, (q + 1) / 4, [0, 1, 3, 4]) for q in range(4)]
    assert quartiles == [[1], [4], [3], [0]]
    with pytest.raises(ValueError, match="quantiles must satisfy"):
        labels.trusted(0.5, 0.5)


def test_label_survives_a_kill(tmp_path):
    """SIGKILL while labelling; a second run computes the rest, and no line is lost."""
    program = """
import sys, time, torch, torchprim as tp
from tests.support.small_bank import HalvingTeacher, RATE, tone
class Slow(HalvingTeacher):
    def forward(self, *a, **k):
        time.sleep(0.15)
        return super().forward(*a, **k)
import soundfile, pathlib
folder = pathlib.Path(sys.argv[1])
soundfile.write(folder / "a.wav", tone(40, 300).numpy(), RATE)
settings = {"segment_seconds": 2.0, "hop_seconds": 2.0, "cache": folder / "c", "progress": False}
bank = tp.Bank([folder / "a.wav"], RATE, **settings)
teacher = Slow()
tp.label(bank, teacher, folder / "labels.jsonl", batch_size=1, progress=False)
print(teacher.separated)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    first = subprocess.Popen(command)
    path = tmp_path / "labels.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not path.exists() or path.read_bytes().count(b"\n") < 3):
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    cached = len(list(read_json_lines(path)))
    assert 3 <= cached < 20
    separated = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert separated == 20 - cached
    assert len({record["start"] for record in read_json_lines(path)}) == 20


def test_the_identity_is_computed_once(bank, tmp_path):
    """It hashes all weights of a network."""

    class Counting(HalvingTeacher):
        computed = 0

        @property
        def identity(self):
            Counting.computed += 1
            return "counting"

    tp.label(bank, Counting(), tmp_path / "l.jsonl", progress=False)
    assert Counting.computed == 1


# --- matched by key -------------------------------------------------------------------------------


def test_a_song_that_was_replaced_is_labelled_anew(bank, music, tmp_path, capsys):
    """By another recording of the same name and length: its loudness tells."""
    path, teacher = tmp_path / "labels.jsonl", HalvingTeacher()
    before = tp.label(bank, teacher, path, progress=False)
    soundfile.write(music / "b.wav", tone(7, 900, 0.1).numpy(), RATE, subtype="FLOAT")
    again = make_bank(music, tmp_path)
    capsys.readouterr()
    labels = tp.label(again, teacher, path)
    assert f"note: {music}/b.wav: has changed since it was labelled" in capsys.readouterr().err
    assert teacher.separated == 7 + 2
    assert torch.equal(labels.confidence, tp.label(again, HalvingTeacher(), progress=False).confidence)
    assert (labels.confidence != before.confidence).nonzero().flatten().tolist() == [4, 5]
    # Both recordings have their labels now.
    assert torch.equal(tp.label(bank, teacher, path, progress=False).confidence, before.confidence)
    assert teacher.separated == 9


def make_bank(folder, tmp_path):
    settings = {"segment_seconds": 4.0, "hop_seconds": 2.0, "cache": tmp_path / "cache", "progress": False}
    return tp.Bank([folder], RATE, **settings)


def test_labels_do_not_depend_on_how_the_folder_is_given(bank, music, tmp_path, monkeypatch):
    path, teacher = tmp_path / "labels.jsonl", HalvingTeacher()
    tp.label(bank, teacher, path, progress=False)
    monkeypatch.chdir(music.parent)
    relative = make_bank(music.name, tmp_path)
    assert relative.names != bank.names
    tp.label(relative, teacher, path, progress=False)
    assert teacher.separated == 7
    # Rounded elsewhere, the loudness may differ in its last place.
    records = read_json_lines(path)
    path.write_text(
        "".join(json.dumps(r | {"loudness": round(r["loudness"] + 0.01, 2)}) + "\n" for r in records)
    )
    tp.label(relative, teacher, path, progress=False)
    assert teacher.separated == 7


@pytest.mark.parametrize(
    "change",
    [
        {"confidence": None},
        {"confidence": "high"},
        {"silhouette": 10**400},
        {"posterior": [0.5]},
        {"song": ["a.wav"]},
        {"start": {}},
        {"teacher": []},
        {"loudness": "loud"},
    ],
)
def test_lines_of_other_types_are_no_labels(bank, tmp_path, change):
    path, teacher = tmp_path / "labels.jsonl", HalvingTeacher()
    labels = tp.label(bank, teacher, path, progress=False)
    records = read_json_lines(path)
    lines = [json.dumps(record) for record in [records[0] | change, *records[1:]]]
    path.write_text("\n".join(["null", "[]", "3", '"x"', "{}", "[" * 100_000, *lines, ""]))
    again = tp.label(bank, teacher, path, progress=False)
    assert teacher.separated == 7 + 4  # the batch with the first segment
    assert torch.equal(again.confidence, labels.confidence)


def test_measures_that_are_not_finite_are_named_and_not_written(bank, tmp_path, capsys):
    class Failing(HalvingTeacher):
        def forward(self, audio, sample_rate, keep_masks=None):
            result = super().forward(audio, sample_rate)
            result.confidence = torch.where(audio.abs().amax(-1) > 0.3, math.nan, result.confidence)
            return result

    labels = tp.label(bank, Failing(), tmp_path / "labels.jsonl")
    assert labels.confidence.isnan().nonzero().flatten().tolist() == [4, 5]
    assert len(read_json_lines(tmp_path / "labels.jsonl")) == 5
    said = capsys.readouterr().err
    assert "not labelled: " in said and "b.wav at 2 s: its measures are [nan, " in said


def test_labels_of_a_larger_bank_are_matched_by_segment(bank, music, tmp_path):
    labels = tp.label(bank, HalvingTeacher(), progress=False)
    (music / "a.wav").unlink()
    fewer = make_bank(music, tmp_path)
    settings = {"batch_size": 2, "frames": 50, "geometry": GEOMETRY, "quantiles": (0.3, 1.0), "coherent": 1.0}
    stream = tp.RemixStream(fewer, HalvingTeacher(), labels=labels, **settings)
    expected = tp.RemixStream(
        fewer, HalvingTeacher(), labels=tp.label(fewer, HalvingTeacher(), progress=False), **settings
    )
    assert stream.store.segments == expected.store.segments == [0, 1]
    assert torch.equal(stream.batch(0).confidence, expected.batch(0).confidence)
    # The other way round: what has no label is not trusted.
    partial = labels.of(fewer).of(bank)
    assert partial.confidence.isnan().nonzero().flatten().tolist() == [0, 1, 2, 3]


def test_labels_of_another_bank_are_refused(bank, tmp_path):
    settings = {"batch_size": 1, "frames": 8, "geometry": GEOMETRY, "quantiles": (0, 1)}
    c = torch.rand(2)
    with pytest.raises(ValueError, match="labels must be of the bank's 7 segments, got 2"):
        tp.RemixStream(bank, HalvingTeacher(), labels=Labels(c, c, c), **settings)
    soundfile.write(tmp_path / "x.wav", tone(28, 300).numpy(), RATE)
    other = make_bank(tmp_path / "x.wav", tmp_path)
    labels = tp.label(other, HalvingTeacher(), progress=False)
    with pytest.raises(ValueError, match="labels must be of the bank's 7 segments, got those of other music"):
        tp.RemixStream(bank, HalvingTeacher(), labels=labels, **settings)


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": ""}, "path must name a file, got ''"),
        ({"batch_size": 0}, "batch_size must be a whole number at least 1, got 0"),
        ({"world": 0}, "world must be a whole number at least 1, got 0"),
        ({"rank": 1}, r"rank must be a whole number in \[0, 0\], got 1"),
    ],
)
def test_arguments_out_of_range(bank, change, message):
    with pytest.raises(ValueError, match=message):
        tp.label(bank, HalvingTeacher(), **change)


def test_a_file_that_cannot_be_written_is_named_before_any_work(bank, tmp_path):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path, "Is a directory"),
        (tmp_path / "file" / "x.jsonl", "Not a directory|File exists"),
        (tmp_path / "pipe", "not a regular file"),
        ("/dev/null", "not a regular file"),
        ("/dev/zero", "not a regular file"),
    ):
        teacher = HalvingTeacher()
        with pytest.raises(OSError, match=reason) as caught:
            tp.label(bank, teacher, path, progress=False)
        assert caught.value.filename == str(path) and teacher.separated == 0
    tp.label(bank, teacher, tmp_path / "new" / "folder" / "x.jsonl", progress=False)
    assert len(read_json_lines(tmp_path / "new" / "folder" / "x.jsonl")) == 7
