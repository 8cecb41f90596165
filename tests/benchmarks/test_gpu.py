"""`python -m benchmarks gpu`: rehearsed on the CPU; parity that can fail; units that die."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.gpu import parity, timings, units
from benchmarks.gpu.ceilings import Ceilings, Phase, floor
from benchmarks.gpu.floors import extrema_of_median
from benchmarks.gpu.scene import Scene
from benchmarks.gpu.settings import Settings, rehearsal
from benchmarks.gpu.stage import Stage
from benchmarks.gpu.stages import STAGES, find_stage
from benchmarks.gpu.supervisor import Unit, side_by_side, supervised
from benchmarks.sound import synthetic_bank, synthetic_batch
from torchprim.kernels import dispatch

ROOT = Path(__file__).parents[2]
# Packages that a machine with a GPU may lack.
ABSENT = "av hypothesis librosa matplotlib mir_eval museval sklearn soundfile torchaudio torchcrepe"
H200 = Ceilings(copy=4.3e12, extrema=1.6e13, float32=5e13, bfloat16=7.8e14, step=2e-7)


def test_rehearsal(tmp_path, capfd):
    assert main(["gpu", "--rehearse", "--out", str(tmp_path)]) == 0
    said = capfd.readouterr().out
    (page,) = tmp_path.glob("gpu-rehearsal-*.md")
    data = json.loads(page.with_suffix(".json").read_text())
    assert page.read_text().strip() in said
    assert said.splitlines()[0] == "# A rehearsal: the numbers mean nothing"
    for stage in STAGES:
        assert said.count(f"\n| {stage.name} |") == bool(stage.operators) + 1 + stage.in_pipeline
    assert "`paper`, 2 x 0.25 s: vocals 0.0e+00" in said and "The longest kernels" in said
    assert said.count("times real time** (2 x 0.25 s") == 3
    assert "\n- preset `best`, masks in float16: **" in said
    last = said[said.rindex("\n## ") :]
    assert last.startswith("\n## Times real time, whole pipeline") and "preset `paper`" in last
    assert "sequences/s" in said and "What failed" not in said
    assert {record["kind"] for record in data["records"]} >= {
        "compare",
        "compare_pipeline",
        "profile",
        "time_stage",
        "time_peer",
        "time_step",
    }
    assert data["settings"]["device"] == "cpu" and not any(r.get("failure") for r in data["records"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_one_line(tmp_path, capsys):
    assert main(["gpu", "--out", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "no CUDA device" in line and "--rehearse" in line
    assert not list(tmp_path.iterdir())


def test_imports_little():
    """The benchmark, and tests that run on a GPU, load on a machine without the other packages."""
    code = """
import importlib, sys
absent, *names = sys.argv[1:]
sys.modules |= dict.fromkeys(absent.split())
for name in names:
    if name == "tests.conftest":
        del sys.modules["scipy"]  # tests may have it for an oracle, the benchmark not
    importlib.import_module(name)
"""
    files = [*(ROOT / "benchmarks" / "gpu").glob("*.py"), ROOT / "benchmarks" / "__main__.py"]
    others = ("conftest.py", "test_sync_gpu.py", "benchmarks/test_gpu.py")
    files += [ROOT / "tests" / name for name in others]
    files += (ROOT / "tests" / "kernels").glob("test_*.py")
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    command = [sys.executable, "-c", code, ABSENT + " scipy", *names]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-500:]


def test_what_goes_wrong_costs_its_own_row():
    wrong = ["raises", "dies", "hangs"]
    made = [Unit("tests.support.broken_units:fine", {"number": 0})]
    for number, name in enumerate(wrong, 1):
        made += [
            Unit(f"tests.support.broken_units:{name}", {}),
            Unit("tests.support.broken_units:fine", {"number": number}),
        ]
    settings = SimpleNamespace(device="cpu", deadline=0.0)
    records = [record for _, record in supervised(made, settings, limit=8.0)]
    assert [record.get("number") for record in records[::2]] == [0, 1, 2, 3]
    raised, died, hung = (record["failure"] for record in records[1::2])
    assert "ValueError at broken_units.py" in raised and "some reason" in raised
    assert died == "its process died, exit status 7"
    assert hung == "took more than 8 s"


def test_nothing_is_begun_after_the_deadline():
    settings = SimpleNamespace(device="cpu", deadline=1.0)
    ((_, record),) = supervised([Unit("tests.support.broken_units:hangs", {})], settings, 1.0, isolated=False)
    assert record["skipped"] == "the time was up" and "failure" not in record


def wrong_stage(results, gradients):
    """Make a stage whose pretended kernel has these relative errors."""

    def call(scene, x):
        kernel = not dispatch._refused
        y = x.square() * (1 + results * kernel)
        return y.detach() + (y - y.detach()) * (1 + gradients * kernel)

    return Stage("wrong", lambda s: (s.magnitude,), call, lambda s: [], ("none",), (0,))


@pytest.mark.parametrize(
    ("results", "gradients", "verdict"),
    [(0, 0, ""), (1e-2, 0, "results differ, gradients differ"), (0, 1e-2, "gradients differ")],
)
def test_parity_can_fail(results, gradients, verdict, monkeypatch):
    monkeypatch.setattr(parity, "find_stage", lambda name: wrong_stage(results, gradients))
    record = parity.compare(rehearsal(Settings()), "wrong", "best", 1, 0.25)
    assert record["failure"] == verdict
    assert record["error"] == pytest.approx(results, rel=1e-3, abs=1e-6)


def test_a_kernel_that_did_not_run_is_a_failure(monkeypatch):
    stage = find_stage("mask from a table of combs")
    monkeypatch.setattr(parity, "scene", lambda *_: Scene("best", 1, 0.3, "cpu"))
    pretended = SimpleNamespace(device="cuda")
    assert parity.has_kernel(stage)
    record = parity.compare(pretended, stage.name, "best", 1, 0.3)
    assert record["failure"] == "no kernel was launched"


def test_difference():
    a = torch.tensor([3.0, 4.0])
    assert parity.difference([a], [a]) == 0
    assert parity.difference([a * 1.01], [a]) == pytest.approx(0.01, rel=1e-3)
    assert parity.difference([torch.tensor([1, 2])], [torch.tensor([1, 3])]) == 0.5
    assert not parity.difference([a, torch.tensor([torch.nan])], [a, torch.zeros(1)]) <= 1e9


def test_floors_of_the_pipeline():
    """Counted by hand for 16 x 30 s: bytes of two planes; operations of two medians a bin."""
    s = Scene("paper", 16, 30.0, "cpu")
    plane = 4 * 16 * 1025 * 2584
    assert s.mask_bytes == plane and s.frames == 2584
    (stft,) = find_stage("STFT and magnitude").floor(s)
    assert stft == Phase(bytes=4 * 16 * 1_323_000 + 3 * plane)
    (hpss,) = find_stage("HPSS mask").floor(s)
    assert extrema_of_median(31) == 41.75
    assert hpss == Phase(bytes=2 * plane, extrema=2 * 41.75 * plane / 4)
    assert hpss.seconds(H200) == pytest.approx(2 * 41.75 * plane / 4 / 1.6e13)
    whole = units.floor_of(s, H200)
    assert 2e-3 < whole < 6e-3
    assert whole == pytest.approx(sum(floor(x.floor(s), H200) for x in STAGES if x.in_pipeline))


def test_rounding_that_a_gradient_amplifies_is_no_failure(monkeypatch):
    """The kernel rounds otherwise than the reference, and no worse: a difference of 1e-6 is lost in both."""

    def call(scene, x):
        tiny = 1e-6 * x
        return (x + tiny) - x if dispatch._refused else ((x + tiny / 2) + tiny / 2) - x

    stage = Stage("amplified", lambda s: (1 + s.magnitude,), call, lambda s: [], ("none",), (0,))
    monkeypatch.setattr(parity, "find_stage", lambda name: stage)
    record = parity.compare(rehearsal(Settings()), "amplified", "best", 1, 0.25)
    assert record["failure"] == "" and record["error"] > stage.tolerance


def test_comparisons_that_differ_from_run_to_run_fail(monkeypatch):
    stage = wrong_stage(0, 0)
    runs = itertools.count()
    noisy = replace(stage, call=lambda s, x: x.square() * (1 + 1e-5 * (next(runs) % 2)))
    monkeypatch.setattr(parity, "find_stage", lambda name: noisy)
    record = parity.compare(rehearsal(Settings()), "wrong", "best", 1, 0.25)
    assert record["failure"] == "two runs differ"


def test_side_by_side_returns_every_unit():
    units = [Unit("tests.support.broken_units:fine", {"number": n}) for n in range(5)]
    settings = SimpleNamespace(device="cpu", deadline=0.0)
    records = [record for _, record in side_by_side(units, settings, 60.0, workers=2)]
    assert sorted(record["number"] for record in records) == [0, 1, 2, 3, 4]


def test_timings_cover_what_is_asked_for():
    made = timings(Settings(presets=("best",)), ("growth",))
    assert [x.role for x in made] == [""] + ["batch"] * 7 + ["gradients"] + ["length"] * 6 + ["cues"] * 5
    assert [x.arguments["batch"] for x in made if x.role == "batch"] == [1, 2, 4, 8, 16, 32, 64]
    assert [len(x.arguments["cues"]) for x in made if x.role == "cues"] == [1, 2, 3, 4, 5]


def test_music_is_made_for_each_item(tmp_path):
    made = synthetic_batch(2, 1.0)
    assert made.shape == (2, 44100) and made.abs().amax(-1).tolist() == [1, 1]
    assert not torch.equal(made[0], made[1]) and torch.equal(made, synthetic_batch(2, 1.0))
    songs = synthetic_bank(tmp_path, 2, 2.0, "cpu", segment_seconds=1.0, hop_seconds=0.5)
    assert [(s.song, s.start) for s in songs.segments] == [(n, 22050 * i) for n in (0, 1) for i in range(3)]
    torch.testing.assert_close(
        songs.audio([0])[0], synthetic_batch(1, 2.0, seed=0)[0, :44100], atol=1e-4, rtol=0
    )
