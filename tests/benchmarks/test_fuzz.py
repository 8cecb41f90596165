"""A small slice of the fuzz, and what it is made of."""

import os
import time

import pytest

import torchprim as tp
from benchmarks import fuzz
from benchmarks.__main__ import main
from benchmarks.fuzz import arguments, damage, worker
from benchmarks.fuzz.targets import TARGETS, UNTRIED


def test_every_public_name_is_tried():
    names = set(TARGETS) | UNTRIED
    assert set(tp.__all__) - {"__version__"} <= names
    assert names - {"metrics", "metrics.bss_eval"} <= set(tp.__all__)


@pytest.mark.parametrize("name", TARGETS)
def test_arguments_that_are_accepted_and_odd_ones(name):
    """The odd ones may give a result, too; else one line of ValueError or TypeError."""
    assert arguments.call(arguments.Call(name, {})) == "result"
    pytest.importorskip("hypothesis")
    for case in arguments.draw_calls(name, 5, seed=0):
        assert arguments.call(case) in fuzz.CALL_KINDS, case


def test_calls_are_those_of_the_seed():
    pytest.importorskip("hypothesis")
    first, again, other = (arguments.draw_calls("hpss", 8, seed) for seed in (0, 0, 1))
    assert len(first) == 8 and str(first) == str(again) != str(other)


def test_a_flipped_bit_gives_sound_or_names_the_file(tmp_path):
    flips = damage.draw_flips(damage.write_files(tmp_path), 32, seed=3)
    assert len({flip.path.suffix for flip in flips}) == 8
    for flip in flips:
        ends = damage.decode_flipped(flip), damage.separate_flipped(flip)
        assert ends[0] in fuzz.FILE_KINDS and ends[0] == ends[1], flip


def end_badly(case):
    if case == "hang":
        time.sleep(60)
    if case == "crash":
        os._exit(3)
    if case == "raise":
        raise KeyError("two\nlines")
    return case


def test_a_case_that_hangs_or_crashes_does_not_end_the_others():
    with worker.Worker(end_badly, limit=2) as process:
        ends = [process.run(case) for case in ("result", "crash", "raise", "hang", "result")]
    assert ends == [
        "result",
        "crash: exit status 3",
        "KeyError: 'two\\nlines'",
        "hang: over 2 s",
        "result",
    ]


def test_faults_are_listed_with_their_seed_and_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz.arguments, "call", end_badly_of_a_call)
    out = tmp_path / "fuzz.md"
    words = ["fuzz", "--flips", "8", "--calls", "2", "--only", "snr", "--seed", "5", "--out", str(out)]
    assert main(words) == 1
    page = out.read_text()
    assert "| `snr` | 0 | 0 | 0 | 2 |" in page
    assert page.count("- `--seed 5`, `snr` with ") == 2 and ": a hang" in page
    assert "| read, .flac |" in page and "| separate, .m4a |" in page


def end_badly_of_a_call(case):
    return "a hang"
