"""Labels: cached line by line, resumed after a kill, sharded over ranks."""

import math
import signal
import subprocess
import sys
import time

import pytest
import torch

import torchprim as tp
from tests.support.small_bank import HalvingTeacher
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
    assert len(list(read_json_lines(path))) == 7
    teacher.identity = "another"
    tp.label(bank, teacher, path, progress=False)
    assert teacher.separated == 14 + 7


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
