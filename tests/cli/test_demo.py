"""`torchprim demo` on the song inside the stempeg wheel: one run, checked by all tests."""

import re

import pytest
import torch

import torchprim as tp
from torchprim import audio
from torchprim.cli.demo import footnotes, format_table
from torchprim.cli.main import main
from torchprim.ensemble.presets import PRIMITIVES
from torchprim.evaluation.methods import Score

METHODS = (
    "mixture",
    "null",
    *PRIMITIVES,
    "ensemble, paper",
    "ensemble, companion",
    "ensemble, best",
    "ideal mask",
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The output folder of the demo, and its standard output."""
    import contextlib
    import io

    folder = tmp_path_factory.mktemp("somewhere") / "demo"
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["demo", "--out", str(folder), "--device", "cpu"]) == 0
    return folder, said.getvalue()


@pytest.fixture(scope="module")
def scores(demo):
    """Vocals, accompaniment, mean, and the confidence where there is one, by method."""
    found = {}
    for line in demo[1].splitlines():
        for name in METHODS:
            if line.startswith(f"{name} ") and line[22:].strip()[:1] in "-0123456789":
                found[name] = [float(cell) for cell in line[22:].split()]
    return found


def test_every_method_is_scored(scores):
    assert list(scores) == list(METHODS)
    for name, values in scores.items():
        clustered = name in PRIMITIVES or name.startswith("ensemble")
        assert len(values) == (4 if clustered else 3), name
        assert values[2] == pytest.approx((values[0] + values[1]) / 2, abs=0.011)
        assert not clustered or 0 <= values[3] <= 1


def test_best_beats_its_parts_and_the_baselines(scores):
    best = scores["ensemble, best"][2]
    for name in METHODS[:-1]:
        if name != "ensemble, best":
            assert best > scores[name][2], name
    assert best > scores["ensemble, paper"][2] + 1.5
    assert scores["ideal mask"][2] > best + 3


def test_stems_are_written_and_sum_to_the_mixture(demo):
    folder, _ = demo
    stems = {
        name: audio.load_audio(folder / f"{name}.wav") for name in ("mixture", "vocals", "accompaniment")
    }
    song, rate = audio.load_audio(audio.demo_song())
    assert {r for _, r in stems.values()} == {rate}
    torch.testing.assert_close(stems["mixture"][0], song, atol=1e-6, rtol=0)
    total = stems["vocals"][0] + stems["accompaniment"][0]
    torch.testing.assert_close(total, song, atol=1e-5, rtol=0)


def test_printed_scores_are_those_of_the_files(demo, scores):
    sources, _ = audio.load_stems(audio.demo_song())
    vocals, _ = audio.load_audio(demo[0] / "vocals.wav")
    value = tp.sd_sdr(sources["vocals"].mean(0), vocals.mean(0)).item()
    assert value == pytest.approx(scores["ensemble, best"][0], abs=0.006)


def test_report_holds_the_table(demo):
    folder, said = demo
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 2 and all(f">{name}</th>" in page for name in METHODS)
    assert str(folder / "report.html") in said and str(folder / "vocals.wav") in said
    assert len(page) < 3e6


def test_footnotes_and_the_best(demo, scores):
    """The page and the terminal explain the same; bold is the best that had no true stems."""
    page = (demo[0] / "report.html").read_text(encoding="utf-8")
    for note in footnotes():
        assert f'<p class="note">{note}</p>' in page and note in demo[1]
    assert [note.split()[0].rstrip(":") for note in footnotes()] == ["null", "ideal", "*"]
    bold = [float(text) for text in re.findall(r"<td><b>(.+?)</b></td>", page)]
    assert 3 <= len(bold) <= 6
    assert all(value <= scores["ideal mask"][1] for value in bold)
    assert max(bold) >= max(scores[name][1] for name in METHODS[:-1]) - 0.006


def test_only_these_files_are_written(demo):
    names = {path.name for path in demo[0].iterdir()}
    assert names == {"mixture.wav", "vocals.wav", "accompaniment.wav", "report.html"}


def test_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["demo", "--out", str(tmp_path / "file")]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and str(tmp_path / "file") in lines[0]


def test_table_is_aligned():
    lines = format_table([Score("a", -1.0, 22.0, 0.5), Score("b", 1.0, 2.0)]).splitlines()
    assert lines[1].endswith("10.50        0.50") and lines[2].endswith("1.50")
    assert lines[1].index("22.00") + 5 == lines[2].index("2.00") + 4
