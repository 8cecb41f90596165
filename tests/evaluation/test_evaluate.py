"""`torchprim evaluate` on small folders of songs: layouts, songs left out, results, tables, figures."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import torchprim as tp
from tests.support.stem_songs import RATE, noise, write_song
from tests.support.training_runs import options_of
from torchprim.audio.find import demo_song
from torchprim.cli.main import main
from torchprim.errors import AudioError
from torchprim.evaluation import quartiles, runner
from torchprim.evaluation.methods import find_method
from torchprim.evaluation.songs import Song, find_songs, read_song
from torchprim.networks.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three songs that can be used, one in each layout of folders, and six that cannot."""
    root = tmp_path_factory.mktemp("stems")
    write_song(root / "a", 0)
    write_song(root / "b", 10, rest=("drums", "bass", "other"))
    write_song(root / "c", 20, rest=("mixture",))
    write_song(root / "no bass", 30, rest=("drums", "other"))
    write_song(root / "no vocals", 40, vocals=None)
    write_song(root / "silent", 50, vocals=torch.zeros(2, 2 * RATE))
    write_song(root / "misfit", 60, accompaniment=noise(1.5, 61))
    write_song(root / "torn", 70)
    (root / "torn" / "vocals.wav").write_bytes(b"RIFF nothing")
    write_song(root / "spike", 80)
    content = bytearray((root / "spike" / "vocals.wav").read_bytes())
    content[-1] = 0x7E  # the exponent of the last sample
    (root / "spike" / "vocals.wav").write_bytes(content)
    return root


LEFT_OUT = {
    "misfit": "stems of different lengths: vocals 2.00 s, accompaniment 1.50 s",
    "no bass": "no bass",
    "no vocals": "stems, but no vocals",
    "silent": "the vocals are silent",
}


def run(*words):
    return main(["evaluate", *map(str, words), "--device", "cpu"])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_layouts(root):
    found = find_songs([root])
    assert set(found.problems) == {"no bass", "no vocals"}
    assert set(found.songs) == {"a", "b", "c", "silent", "misfit", "torn", "spike"}
    a, b, c = (read_song(name, found.songs[name]) for name in "abc")
    torch.testing.assert_close(a.sources[1], noise(2, 1))
    torch.testing.assert_close(b.sources[1], noise(2, 11) + noise(2, 12) + noise(2, 13))
    torch.testing.assert_close(c.mixture, noise(2, 21))
    assert a.sources.shape == (2, 2, 2 * RATE)
    assert a.seconds == 2 and a.level_ratio == pytest.approx(0, abs=0.2)
    (name,) = find_songs([demo_song()]).songs
    assert name == "The Easton Ellises - Falcon 69"
    with pytest.raises(AudioError, match="no song with stems"):
        find_songs([root / "no vocals"])


def test_compare_names_what_it_leaves_out_and_resumes(root, tmp_path, monkeypatch, capsys):
    words = ("compare", "--stems", root, "--out", tmp_path, "--bss", "torch")
    assert run(*words, "--methods", "mixture,null,irm,hpss", "--against", "irm") == 0
    page, whole = (tmp_path / "compare.md").read_text(), json.loads((tmp_path / "compare.json").read_text())
    left_out = whole["data"]["left out"]
    assert {name: left_out[name] for name in LEFT_OUT} == LEFT_OUT and set(left_out) == {
        *LEFT_OUT,
        "torn",
        "spike",
    }
    assert (
        "vocals.wav: a sample is " in left_out["spike"]
        and "Left out, 6:" in page
        and "BSSEval v4 by torchprim" in page
        and "nan" not in page
    )
    assert whole["data"]["songs"] == 3 and whole["seed"] == 0 and whole["preset"] == "best"
    assert whole["versions"]["torch"] == torch.__version__ and "CPU" in whole["device"]
    for name in ("figure4.png", "figure4-vocals.png", "figure4-accompaniment.png"):
        assert (tmp_path / name).stat().st_size > 8000
    scores = lines(tmp_path / "scores.jsonl")
    assert len(scores) == 12 == len(lines(tmp_path / "bss.jsonl"))

    # The numbers are those of the metrics, and the table those of the lines.
    song = read_song("a", root / "a").to_mono()
    record = next(r for r in scores if (r["song"], r["method"]) == ("a", "mixture"))
    want = tp.sd_sdr(song.sources[0, 0], song.mixture[0]).item()
    assert record["scores"]["SD-SDR"]["vocals"] == pytest.approx(want)
    assert record["gains"]["SD-SDR"] == {"vocals": 0.0, "accompaniment": 0.0}
    values = [r["scores"]["SD-SDR"]["vocals"] for r in scores if r["method"] == "hpss"]
    assert whole["summary"]["hpss"]["SD-SDR"]["vocals"] == [pytest.approx(np.mean(values)), np.median(values)]
    assert f"| `hpss` | {np.mean(values):.2f} | {np.median(values):.2f} |" in page

    # A torn line and a new method: cached results are not computed again, and the page stays the same.
    text = (tmp_path / "scores.jsonl").read_text()
    (tmp_path / "scores.jsonl").write_text(text[: text.rindex('"scores"')])
    asked = []
    real = runner._score
    monkeypatch.setattr(runner, "_score", lambda *a: asked.append((a[0].name, a[2].name)) or real(*a))
    assert run(*words, "--methods", "mixture,null,irm,hpss", "--against", "irm") == 0
    assert len(asked) == 1
    assert (tmp_path / "compare.md").read_text() == page
    capsys.readouterr()
    assert run(*words, "--methods", "irm,2dft-r", "--against", "irm") == 0
    assert set(asked[1:]) == {(name, "2dft-r") for name in "abc"}
    assert "`mixture`" not in capsys.readouterr().out


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_song_and_method(root, tmp_path, capsys):
    words = ("compare", "--stems", root, "--out", tmp_path, "--methods", "mixture,null", "--bss", "torch")
    assert run(*words, "--figures", "svg,pdf", "--against", "null") == 0
    rows = rows_of(tmp_path / "compare.csv")
    assert [(row["song"], row["method"]) for row in rows] == [
        (s, m) for s in "abc" for m in ("mixture", "null")
    ]
    records = lines(tmp_path / "scores.jsonl")
    for row, record in zip(rows, records, strict=True):
        for source in ("vocals", "accompaniment"):
            for metric, values in record["scores"].items():
                found = row[f"{metric.lower().replace('-', '_')}_{source}"]
                assert (
                    found == ""
                    if values[source] is None
                    else float(found) == pytest.approx(float(values[source]), abs=1e-4)
                )
            gain = record["gains"]["SD-SDR"][source]
            assert float(row[f"sd_sdr_gain_{source}"]) == pytest.approx(gain, abs=1e-4)
            assert row[f"bss_sdr_{source}"] != ""
        both = (float(row["sd_sdr_vocals"]) + float(row["sd_sdr_accompaniment"])) / 2
        assert float(row["sd_sdr_both"]) == pytest.approx(both, abs=2e-4)
    page = (tmp_path / "compare.md").read_text()
    assert "3 songs are too few for a 95 % interval" in page
    assert "warning: 3 songs are too few" in capsys.readouterr().err
    # A browser shows the SVG; no PNG was asked for.
    assert "![figure4](figure4.svg)" in page and not list(tmp_path.glob("*.png"))
    assert (tmp_path / "figure4.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (tmp_path / "figure4.svg").read_text()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("figure4*")}
    assert len(before) == 6
    assert run(*words, "--figures", "svg,pdf", "--against", "null") == 0
    assert {path.name: path.read_bytes() for path in tmp_path.glob("figure4*")} == before


@pytest.mark.parametrize("figures", ["gif", "", "png,jpg"])
def test_unknown_figures_are_refused_before_the_work(root, tmp_path, capsys, figures):
    words = ("compare", "--stems", root, "--out", tmp_path, "--methods", "mixture", "--figures", figures)
    assert run(*words) == 1
    assert f"figures must be some of png,svg,pdf, got {figures!r}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "file"), [("compare", "scores"), ("compare", "bss"), ("confidence", "confidence")]
)
def test_lines_of_other_types_are_no_results(tmp_path, command, file):
    write_song(tmp_path / "in" / "a", 0)
    words = (command, "--stems", tmp_path / "in", "--out", tmp_path)
    words += ("--methods", "mixture", "--bss", "torch") if command == "compare" else ("--method", "hpss")
    assert run(*words) == 0
    page = (tmp_path / f"{command}.md").read_text()
    path = tmp_path / f"{file}.jsonl"
    (record,) = lines(path)
    numbers = {"scores": "scores", "bss": "frames", "confidence": "measures"}[file]
    other = [
        {"song": ["a"]},
        {"identity": {}},
        {"seconds": "long"},
        {"method": None},
        {numbers: []},
        {numbers: {}},
    ]
    other += [{numbers: None}, {numbers: {name: [[]] for name in record[numbers]}}]
    for change in other:
        path.write_text("null\n[]\n" + json.dumps(record | change) + "\n")
        assert run(*words) == 0, change
        assert (tmp_path / f"{command}.md").read_text() == page
        assert len(lines(path)) == 4  # the result was computed again


def test_a_song_that_a_method_refuses_is_named_and_the_others_are_scored(tmp_path, monkeypatch):
    for seed, name in enumerate("ab"):
        write_song(tmp_path / "in" / name, 10 * seed)

    def refuse(song, *rest, real=runner._score):
        if song.name == "a":
            raise ValueError("audio must be finite, its extremes are nan and nan")
        return real(song, *rest)

    monkeypatch.setattr(runner, "_score", refuse)
    words = ("compare", "--stems", tmp_path / "in", "--out", tmp_path, "--methods", "mixture")
    assert run(*words) == 0
    whole = json.loads((tmp_path / "compare.json").read_text())["data"]
    assert whole["left out"] == {"a": "audio must be finite, its extremes are nan and nan"}
    assert whole["songs"] == 1


def test_results_belong_to_their_data(tmp_path):
    write_song(tmp_path / "in" / "a", 0)
    words = ("compare", "--stems", tmp_path / "in", "--out", tmp_path / "out", "--methods", "mixture")
    assert run(*words) == 0
    write_song(tmp_path / "in" / "a", 5, seconds=2.5)
    assert run(*words) == 0
    assert len(lines(tmp_path / "out" / "scores.jsonl")) == 2
    assert json.loads((tmp_path / "out" / "compare.json").read_text())["data"]["seconds"] == 2.5


def test_stereo_scores_each_channel(root, tmp_path):
    words = ("--stems", root, "--out", tmp_path, "--methods", "null", "--stereo")
    assert run("compare", *words) == 0
    record = next(r for r in lines(tmp_path / "scores.jsonl") if r["song"] == "a")
    song = read_song("a", root / "a")
    estimate = find_method("null").estimate(song)
    want = tp.sd_sdr(song.sources[0], estimate[0]).mean().item()
    assert record["channels"] == "stereo"
    assert record["scores"]["SD-SDR"]["vocals"] == pytest.approx(want)


def test_museval_runs_in_workers_and_agrees(tmp_path):
    write_song(tmp_path / "in" / "a", 0)
    words = ("compare", "--stems", tmp_path / "in", "--out", tmp_path / "out", "--methods", "null")
    assert run(*words, "--bss", "museval", "--workers", 1) == 0
    assert run(*words, "--bss", "torch") == 0
    peer, ours = lines(tmp_path / "out" / "bss.jsonl")
    assert (peer["by"], ours["by"]) == ("museval", "torch")
    for measure, sources in peer["frames"].items():
        for source, values in sources.items():
            assert values == pytest.approx(ours["frames"][measure][source], abs=0.01)


def test_confidence(tmp_path):
    for i in range(6):
        vocals = noise(3, i) * torch.linspace(0.1, 1 + i, 3 * RATE).sin()
        write_song(tmp_path / "in" / str(i), 10 * i, 3.0, vocals=vocals)
    words = ("confidence", "--stems", tmp_path / "in", "--out", tmp_path)
    assert run(*words, "--preset", "companion") == 0
    records = lines(tmp_path / "confidence.jsonl")
    whole = json.loads((tmp_path / "confidence.json").read_text())
    x = [r["measures"]["confidence"] for r in records]
    y = [r["scores"]["SD-SDR"]["vocals"] for r in records]
    found = whole["summary"]["confidence"]["vocals"]["r"]
    assert found[0] == pytest.approx(np.corrcoef(x, y)[0, 1]) and found[1] < found[0] < found[2]
    for record in records:
        m = record["measures"]
        # One piece: the measure is the product, also with all points.
        assert m["confidence"] == pytest.approx(m["posterior"] * m["silhouette"], rel=1e-4)
        assert 0 <= m["agreement"] <= 1 and 0 <= m["low energy"] <= 1
    rows = rows_of(tmp_path / "confidence.csv")
    assert [float(row["confidence"]) for row in rows] == pytest.approx(x, abs=1e-4)
    assert [float(row["sd_sdr_vocals"]) for row in rows] == pytest.approx(y, abs=1e-4)
    assert {"song", "level_ratio", "loudest_10_percent", "sd_sdr_gain_both"} <= set(rows[0])
    for target in ("vocals", "accompaniment", "both", "improvement"):
        assert (tmp_path / f"figure2-{target}.png").stat().st_size > 8000
    assert "partial r given the input level ratio" in " ".join(
        (tmp_path / "confidence.md").read_text().split()
    )
    before = (tmp_path / "confidence.md").read_text()
    assert run(*words, "--preset", "companion") == 0
    assert lines(tmp_path / "confidence.jsonl") == records
    assert (tmp_path / "confidence.md").read_text() == before


def test_memory_that_does_not_suffice_is_of_one_song(monkeypatch):
    """torch's allocator for the CPU raises a RuntimeError, which would stop all songs."""

    def exhausted(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    method = find_method("pcl")
    monkeypatch.setattr(tp.PrimitiveSeparator, "estimate", exhausted)
    with pytest.raises(runner.SONG_ERRORS, match="not enough memory"):
        method.separate(Song("noise", torch.randn(2, 1, 44100), 44100))


def test_quartiles_train_each_once_and_resume(root, tmp_path, monkeypatch):
    """With a stand-in for train.py that saves an untrained network, and is killed once."""
    calls = []

    def training(command, env):
        out = command[command.index("--out") + 1]
        calls.append(command)
        if len(calls) == 3:
            return type("", (), {"returncode": 137})
        torch.manual_seed(len(calls))
        save_checkpoint(f"{out}/last.pt", tp.build_network("unet"))
        return type("", (), {"returncode": 0})

    monkeypatch.setattr(quartiles.subprocess, "run", training)
    words = ["quartiles", "--audio", root, "--stems", root, "--out", tmp_path / "out", "--steps", "7"]
    words += ["--methods", "mixture,irm", "--against", "mixture"]
    assert run(*words) == 1
    assert run(*words) == 0
    assert [c[c.index("--low") + 1] for c in calls] == ["0", "0.25", "0.5", "0.5", "0.75"]
    assert [c[c.index("--high") + 1] for c in calls] == ["0.25", "0.5", "0.75", "0.75", "1"]
    same = {tuple(c[c.index("--resume") :]) for c in calls}
    assert len(same) == 1 and "--steps" in same.pop()
    summary = json.loads((tmp_path / "out" / "quartiles.json").read_text())["summary"]
    assert [name.split("/")[-2] for name in list(summary)[:4]] == ["q1", "q2", "q3", "q4"]
    assert (tmp_path / "out" / "figure3.png").stat().st_size > 8000
    assert run(*words, "--rate", "0.1") == 1  # another recipe in the same folder
    assert len(calls) == 5


@pytest.mark.parametrize("content", ["", "[1]", '{"options": 3}', "{}"])
def test_a_damaged_record_of_a_quartile_is_named(tmp_path, capsys, content):
    write_song(tmp_path / "in" / "a", 0)
    (tmp_path / "q1").mkdir()
    (tmp_path / "q1" / "started.json").write_text(content)
    words = ("quartiles", "--audio", tmp_path / "in", "--stems", tmp_path / "in", "--out", tmp_path)
    assert run(*words) == 1
    assert "q1/started.json: does not hold the options of a training" in capsys.readouterr().err


def test_train_takes_the_options_of_quartiles():
    command = quartiles.training_command(2, Path("out"), ["--audio", "x", "--seed", "3"])
    assert command[1:4] == ["-m", "torchprim", "train"] and "--resume" in command
    args = options_of(command[4:])
    assert (args.low, args.high, args.seed) == (0.5, 0.75, 3)


def test_failures_are_one_line(root, tmp_path, capsys):
    base = ("compare", "--stems", root, "--out", tmp_path)
    for words, text in (
        ((*base, "--methods", "nothing"), "unknown method 'nothing'"),
        ((*base, "--methods", "missing/best.pt"), "missing/best.pt"),
        (("compare", "--stems", tmp_path / "none", "--out", tmp_path), "no such file or folder"),
        (("compare", "--stems", root / "silent", "--out", tmp_path, "--methods", "null"), "silent"),
        (("confidence", "--stems", root, "--out", tmp_path, "--method", "irm"), "method must cluster"),
    ):
        assert run(*words) == 1
        (line,) = (s for s in capsys.readouterr().err.splitlines() if s.startswith("error: "))
        assert text in line
