"""`torchprim train`: files of a run, and resuming after a kill."""

import dataclasses
import json
import signal
import time
from pathlib import Path

import pytest
import torch

import torchprim as tp
from tests.support.page_reader import Page
from tests.support.training_runs import (
    ROOT,
    curve,
    options_of,
    start,
    steps,
    train,
    write_music,
    write_stems,
)
from torchprim import progress
from torchprim.cli.train import cost
from torchprim.cli.train.options import network_config
from torchprim.cli.train.settings import read_settings, write_settings
from torchprim.errors import FileError
from torchprim.networks.checkpoint import read_checkpoint
from torchprim.training.recipes import find_recipe


@pytest.fixture(scope="module")
def stems(tmp_path_factory):
    return write_stems(tmp_path_factory.mktemp("data") / "stems", 4)


def test_files_of_a_run(whole):
    records = curve(whole)
    assert [r["step"] for r in records if "loss" in r] == list(range(1, 25))
    checks = [r for r in records if "validation" in r]
    assert [r["step"] for r in checks] == [4, 8, 12, 16, 20, 24]
    names = {path.name for path in (whole / "examples" / "0000024").iterdir()}
    assert names == {"example.png", "mixture.wav", "vocals_estimate.wav", "vocals_target.wav"}
    for name in ("best.pt", "last.pt"):
        content = torch.load(whole / name, weights_only=True)
        assert content["version"] == tp.__version__
        assert content["config"]["channels"] == 4
        assert content["training"]["trainer"]["recipe"]["frames"] == 20
        assert content["training"]["arguments"]["seed"] == 0
    best = min(checks, key=lambda r: r["validation"])
    assert read_checkpoint(whole / "best.pt").training["step"] == best["step"]
    assert read_checkpoint(whole / "last.pt").training["step"] == 24
    assert [path.name for path in whole.glob(".*")] == [".lock"]


def test_a_resumed_run_has_a_whole_report(common, tmp_path):
    """The page after a stop shows the steps from before it, too."""
    run = tmp_path / "run"
    assert train([*common, "--out", str(run), *steps(4)]) == 0
    assert train([*common, "--out", str(run), *steps(8), "--resume"]) == 0
    said = "".join(Page((run / "report.html").read_text(encoding="utf-8")).text)
    validations = [record["validation"] for record in curve(run) if "validation" in record]
    assert len(validations) == 2
    for words in ("step 4", "step 8", "Step 8 of 8", "a held-out song", *(f"{v:.4f}" for v in validations)):
        assert words in said


def test_report_without_held_out_songs(common, tmp_path):
    run = tmp_path / "run"
    assert train([*common, "--out", str(run), *steps(2), "--validation", "0"]) == 0
    said = "".join(Page((run / "report.html").read_text(encoding="utf-8")).text)
    (check,) = (record for record in curve(run) if "loss" not in record)
    losses = [record["loss"] for record in curve(run) if "loss" in record]
    assert check == {"step": 2}
    assert f"{sum(losses) / 2:.4f}" in said and "none is held out" in said


def test_a_run_goes_on_without_its_report(common, tmp_path, capsys):
    run = tmp_path / "run"
    (run / "report.html").mkdir(parents=True)
    assert train([*common, "--out", str(run), *steps(4, 2)]) == 0
    assert capsys.readouterr().err.count("report.html: not written, the training goes on") == 1
    assert (run / "best.pt").exists()


def test_bars_of_a_run(common, tmp_path, capsys, monkeypatch):
    """Filling the store is shown; labels that are all there already are not."""
    monkeypatch.setattr(progress, "FIRST", 0)
    monkeypatch.setattr(progress, "EVERY", 0)
    assert train([*common, "--out", str(tmp_path / "run"), *steps(1)]) == 0
    capsys.readouterr()
    assert train([*common, "--out", str(tmp_path / "again"), *steps(1)]) == 0
    said = capsys.readouterr().err
    assert "estimate: " in said and "train: 1/1 batch, " in said and "label" not in said
    assert "\r" not in said


def test_a_run_learns(whole):
    losses = [r["loss"] for r in curve(whole) if "loss" in r]
    assert sum(losses[-6:]) < sum(losses[:6])


def test_killed_runs_have_the_same_curve(common, whole, tmp_path):
    """SIGKILL twice, each time later; the log is that of the run that was not interrupted."""
    run = tmp_path / "killed"
    arguments = [ROOT / "train.py", *common, "--out", run, *steps(24), "--resume"]
    kills = 0
    for lines in (3, 13):
        child = start(arguments)
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            if (run / "log.jsonl").exists() and len(curve(run)) >= lines:
                break
            time.sleep(0.01)
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            kills += 1
        _, said = child.communicate()
        assert child.returncode in (0, -signal.SIGKILL), said
    assert kills == 2
    assert train([*common, "--out", str(run), *steps(24), "--resume"]) == 0
    assert curve(run) == curve(whole)
    for name in ("best.pt", "last.pt"):
        resumed, unbroken = (read_checkpoint(folder / name).network.state_dict() for folder in (run, whole))
        assert all(torch.equal(resumed[key], unbroken[key]) for key in unbroken)


def test_an_earlier_run_is_not_overwritten(common, whole, capsys):
    before = (whole / "last.pt").read_bytes()
    assert train([*common, "--out", str(whole), *steps(24)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("error: ")
    assert "last.pt: of an earlier run: --resume goes on with it" in said[-1]
    assert (whole / "last.pt").read_bytes() == before


def test_other_settings_are_reported_on_resuming(common, whole, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "last.pt").write_bytes((whole / "last.pt").read_bytes())
    assert train([*common, "--out", str(run), *steps(25), "--resume", "--rate", "0.02"]) == 0
    assert "resumed with other settings: steps 24 -> 25, rate 0.01 -> 0.02" in capsys.readouterr().err


def test_a_run_is_resumed_with_its_settings_alone(common, tmp_path, capsys, monkeypatch):
    """Also from another folder than the one that its relative paths start from."""
    music = Path(common[1])
    monkeypatch.chdir(music.parent)
    words = ["--audio", music.name, *common[2:], "--out", tmp_path / "run", *steps(4, 2)]
    assert train([*words, "--low", "0.1"]) == 0
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert train(["--resume", "run", "--steps", "6"]) == 0
    said = capsys.readouterr().err
    assert "resumed with other settings: steps 4 -> 6\n" in said and "other music" not in said
    assert [r["step"] for r in curve("run") if "loss" in r] == [1, 2, 3, 4, 5, 6]
    assert train(["--resume", "--out", "run", "--low", "0", "--steps", "7"]) == 0
    assert "resumed with other settings: low 0.1 -> 0.0\n" in capsys.readouterr().err
    settings = read_settings(Path("run"))
    assert (settings["steps"], settings["low"], settings["rate"]) == (7, 0.0, 0.01)
    assert settings["audio"] == [str(music)] and settings["heads"] == ("embedding", "mask")
    # As is one that a kill met before its first checkpoint.
    for path in Path("run").glob("*.pt"):
        path.unlink()
    assert train(["--resume", "run", "--steps", "1"]) == 0
    assert "resumed with other settings: steps 7 -> 1\n" in capsys.readouterr().err
    assert train(["--resume", "nowhere"]) == 2
    assert "(nowhere/settings.json holds no settings of a run)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["", "[]", '{"steps": "x"}', '{"steps": [1, 2]}', '{"audio": []}', '{"nothing": 3}', "{"]
)
def test_damaged_settings_are_named(tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(FileError, match=r"settings\.json: does not hold the options of a training"):
        read_settings(tmp_path)


def test_settings_are_read_as_they_were_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {
        "audio": [str(tmp_path / "a b"), "https://c"],
        "cues": "",
        "quietest": -60.0,
        "heads": ("mask",),
        "anyway": True,
    }
    write_settings(tmp_path, given)
    assert read_settings(tmp_path) == given


def test_a_network_that_takes_a_cpu_days_is_refused_with_an_estimate(common, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cost, "step_seconds", lambda config, recipe: 36.0)
    words = [word for word in common if word != "--anyway"]
    assert train([*words, "--out", tmp_path / "run", "--steps", "5000"]) == 1
    assert capsys.readouterr().err == (
        "error: 5,000 steps of the network 'small' would take this CPU about 50 hours (36 s a step); "
        "--preset small is made for a CPU, --anyway trains all the same\n"
    )
    assert not (tmp_path / "run" / "labels.jsonl").exists()
    assert train([*words, "--out", tmp_path / "run", "--steps", "2"]) == 0  # a few seconds


def test_a_step_is_timed_without_a_change_of_the_random_state():
    recipe = find_recipe("paper", {"frames": 40, "batch_size": 2})
    before = torch.get_rng_state()
    assert cost.step_seconds(tp.NetworkConfig("x", layers=1, hidden=8), recipe) > 0
    assert torch.equal(before, torch.get_rng_state())


def test_a_run_inside_its_music_is_resumed_with_the_same_songs(common, cache, tmp_path, capsys):
    music = write_music(tmp_path / "music", 4)
    run = music / "RUN"
    data = ["--audio", str(music), "--labels", str(run / "labels.jsonl"), "--out", str(run)]
    assert train([*common, *data, *steps(2, 2)]) == 0
    assert len(list(run.glob("examples/*/*.wav"))) == 3
    capsys.readouterr()
    assert train([*common, *data, *steps(4, 2), "--resume"]) == 0
    said = capsys.readouterr().err
    assert "3 files that torchprim wrote are left out" in said and "other music" not in said
    songs = {json.loads(line)["song"] for line in (run / "labels.jsonl").read_text().splitlines()}
    assert songs == {str(music / f"{number}.wav") for number in range(4)}
    (music / "0.wav").unlink()
    assert train([*common, *data, *steps(5, 2), "--resume"]) == 0
    told = f"other music than this run had before: 1 song gone ({music / '0.wav'})"
    assert told in capsys.readouterr().err


def test_true_stems_and_validation_on_them(common, stems, tmp_path):
    run = tmp_path / "run"
    arguments = [*common, "--stems", str(stems), "--out", str(run), *steps(4), "--validation", "0.3"]
    assert train([*arguments, "--stems-share", "0.5"]) == 0
    (check,) = (r for r in curve(run) if "validation" in r)
    assert {"sd_sdr_vocals", "sd_sdr_accompaniment"} < set(check)
    assert -31 < check["sd_sdr_vocals"] < 31
    page = "".join(Page((run / "report.html").read_text(encoding="utf-8")).text)
    page = page.replace("\N{MINUS SIGN}", "-")
    for source in ("vocals", "accompaniment"):
        assert f"{check[f'sd_sdr_{source}']:.4f}" in page
        assert f"{check[f'teacher_sd_sdr_{source}']:.4f}" in page
    only = tmp_path / "only"  # stems for validation alone
    assert train([*arguments, "--stems-share", "0", "--out", str(only)]) == 0
    assert "sd_sdr_vocals" in curve(only)[-1]


def test_second_generation(common, whole, stems, tmp_path):
    first = whole / "best.pt"
    run = tmp_path / "second"
    arguments = [*common, "--labels", str(tmp_path / "l.jsonl"), "--teacher", str(first), "--out", str(run)]
    assert train([*arguments, *steps(2)]) == 0
    teachers = {json.loads(line)["teacher"] for line in (tmp_path / "l.jsonl").read_text().splitlines()}
    assert len(teachers) == 1
    assert teachers.pop().startswith("network small")


def test_recipes_and_networks_are_replaced_field_by_field(tmp_path):
    args = options_of(["--audio", "x", "--out", "y", "--preset", "chimera", "--hidden", "12"])
    assert network_config(args) == dataclasses.replace(tp.NETWORKS["chimera"], hidden=12)
