"""Progress: a bar on a terminal, lines now and then elsewhere, nothing where there is nothing to do."""

import io
import re
import sys
from pathlib import Path

import pytest

import torchprim
from torchprim import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that each look at it moves on by 4 s."""
    now = [0.0]

    def tick():
        now[0] += 4
        return now[0]

    monkeypatch.setattr(progress.time, "monotonic", tick)


def test_lines_now_and_then_without_a_terminal(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.bar("train", total=30, unit="batch") as bar:
        for number in range(30):
            bar.set_postfix(loss=f"{number}")
            bar.update()
    said = sys.stderr.getvalue()
    assert "\r" not in said
    lines = said.splitlines()  # after 10 s, and every 30 s
    assert [re.match(r"train: (\d+)/30 batch, ", line)[1] for line in lines] == ["3", "11", "19", "27"]
    assert lines[0] == "train: 3/30 batch, 00:12 gone, 01:48 left, loss=2"


def test_lines_of_an_iterable_and_of_an_unknown_total(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert list(progress.bar("count", (n for n in range(5)), unit="song")) == [0, 1, 2, 3, 4]
    assert sys.stderr.getvalue() == "count: 3 song, 00:12 gone\n"


def test_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress.bar("count", "ab", unit="song")) == ["a", "b"]
    assert "\rcount:" in sys.stderr.getvalue()


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_nothing_to_do_and_nothing_wanted_show_nothing(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setattr(progress, "FIRST", 0.0)
    for settings in ({"total": 0}, {"items": []}, {"total": 5, "initial": 5}, {"total": 5, "shows": False}):
        with progress.bar("count", unit="song", **settings) as bar:
            bar.update()
    assert sys.stderr.getvalue() == ""


def test_all_bars_come_from_one_place():
    root = Path(torchprim.__file__).parent
    users = {path.name for path in root.rglob("*.py") if re.search(r"import tqdm", path.read_text())}
    assert users == {"progress.py"}
