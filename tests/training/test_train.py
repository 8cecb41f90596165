"""`torchprim train`: files of a run, resuming after a kill, and errors."""

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
    TINY,
    curve,
    limited_file_size,
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
from torchprim.training.trainer import Trainer


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--audio", "nowhere"], "nowhere: no such file or folder"),
        (["--quietest", "10"], "nothing but sound quieter than 10 LUFS"),
        (["--low", "0.99", "--high", "0.995"], "no segment lies between the quantiles (0.99, 0.995)"),
        (["--frames", "4000"], "no trusted segment is as long as 4000 frames"),
        (["--teacher", "nowhere.pt"], "nowhere.pt: there is no such file"),
        (["--layers", "2", "--resume"], "holds another network than was asked for: layers 1, not 2"),
        (["--preset", "unet", "--resume"], "holds another network than was asked for: name small, not unet"),
        (["--rate", "-1"], "rate must be positive, got -1.0"),
        (["--batch-size", "0"], "batch_size must be a whole number at least 1, got 0"),
    ],
)
def test_nothing_to_train_on(common, whole, tmp_path, capsys, change, message):
    run = tmp_path / "run"
    if "--resume" in change:
        run.mkdir()
        (run / "last.pt").write_bytes((whole / "last.pt").read_bytes())
    assert train([*common, "--out", str(run), *steps(2), *change]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    assert message in said
    assert not (run / "log.jsonl").exists()


def test_pairs_need_two_songs(cache, tmp_path, capsys):
    """An error before segments are labelled; coherent pairs need one song."""
    one = write_music(tmp_path / "one", 1)
    arguments = ["--audio", str(one), "--cache", str(cache), "--teacher-preset", "companion", *TINY]
    run = tmp_path / "run"
    assert train([*arguments, "--out", str(run), *steps(2)]) == 1
    assert "pairs need two songs" in capsys.readouterr().err.splitlines()[-1]
    assert not (run / "labels.jsonl").exists()
    assert train([*arguments, "--out", str(run), *steps(2), "--coherent", "1"]) == 0


def test_wrong_usage(tmp_path, capsys):
    for arguments, said in (
        (["--out", "x"], "nothing to train on: give --audio, --stems, or both"),
        (["--audio", "x"], "the following arguments are required: -o/--out, or --resume RUN"),
        (["--out", "x", "--resume", "y"], "argument --resume: names the run y, and --out names x"),
        (["--out", "x", "--audio", "y", "--stems-share", "1"], "--stems-share: must lie in [0, 1), got 1.0"),
        (["--out", "x", "--audio", "y", "--loss", "z"], "argument --loss: invalid choice: 'z'"),
    ):
        assert train(arguments) == 2
        usage, *_, error = capsys.readouterr().err.splitlines()
        assert usage.startswith("usage: torchprim train ") and said in error


def test_a_nan_loss_stops_the_run(common, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Trainer, "step", lambda *_: torch.tensor(float("nan")))
    assert train([*common, "--out", str(tmp_path / "run"), *steps(5)]) == 1
    assert "the loss of step 1 is nan" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run" / "last.pt").exists()


def test_weights_that_are_nan_replace_no_checkpoint(common, whole, tmp_path, capsys, monkeypatch):
    """The last step's loss is finite, its gradient is not."""
    run, step = tmp_path / "run", Trainer.step
    run.mkdir()
    (run / "last.pt").write_bytes((whole / "last.pt").read_bytes())

    def diverge(trainer, *arguments):
        loss = step(trainer, *arguments)
        torch.nn.init.constant_(next(trainer.network.parameters()), float("nan"))
        return loss

    monkeypatch.setattr(Trainer, "step", diverge)
    arguments = [*common, "--out", str(run), *steps(25), "--resume"]
    assert train(arguments) == 1
    assert "the validation loss after step 25 is nan" in capsys.readouterr().err.splitlines()[-1]
    assert train([*arguments, "--validation", "0"]) == 1
    assert "a weight after step 25 is nan" in capsys.readouterr().err.splitlines()[-1]
    assert read_checkpoint(run / "last.pt").training["step"] == 24


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--threads", "-1", "must be a whole number in [1, 1024], got '-1'"),
        ("--threads", "0", "must be a whole number in [1, 1024], got '0'"),
        ("--threads", "1000000", "must be a whole number in [1, 1024], got '1000000'"),
        ("--seed", "-1", f"must be a whole number in [0, {2**63 - 1}], got '-1'"),
        ("--seed", str(2**70), f"must be a whole number in [0, {2**63 - 1}], got '{2**70}'"),
        ("--eq", "nan", "must be a finite number, got 'nan'"),
        ("--dropout", "inf", "must be a finite number, got 'inf'"),
        ("--quietest", "loud", "must be a finite number, got 'loud'"),
    ],
)
def test_numbers_out_of_range(option, value, message, capsys):
    assert train(["--audio", "x", "--out", "y", option, value]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"torchprim train: error: argument {option}: {message}"


def test_one_training_at_a_time(common, whole, tmp_path, capsys):
    """A folder in use is refused; the lock of a process that was killed is gone with it."""
    holder = "import sys, time\nfrom pathlib import Path\nfrom torchprim.training.run_folder import reserve\n"
    holder += "with reserve(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"
    run = tmp_path / "run"
    other = start(["-c", holder, run])
    assert other.stdout.readline() == "held\n"
    arguments = [*common, "--out", str(run), *steps(1)]
    assert train(arguments) == 1
    assert (
        capsys.readouterr().err
        == f"error: {run}: is in use by another training; give another --out, or wait\n"
    )
    other.kill()
    other.communicate()
    assert train(arguments) == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("trainer"),
        lambda state: state.pop("step"),
        lambda state: state["trainer"].pop("optimiser"),
        lambda state: state["trainer"].pop("recipe"),
        lambda state: state["trainer"]["optimiser"].update(param_groups=[]),
        lambda state: state.update(step="24"),
        lambda state: state.update(best=float("nan")),
        lambda state: state.update(trainer=3),
    ],
)
def test_a_damaged_state_is_named(common, whole, tmp_path, capsys, damage):
    run = tmp_path / "run"
    run.mkdir()
    content = torch.load(whole / "last.pt", weights_only=True)
    damage(content["training"])
    torch.save(content, run / "last.pt")
    assert train([*common, "--out", str(run), *steps(25), "--resume"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {run / 'last.pt'}: its state of the training is damaged (")


def test_a_full_disk_is_named(common, whole, tmp_path, capsys):
    """A limit on the size of files stands for it."""
    run = tmp_path / "run"
    with limited_file_size(4096):
        status = train([*common, "--out", str(run), *steps(2), "--validation", "0"])
    assert status == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"File too large: '{run / 'best.pt'}'")
    assert {path.name for path in run.glob("*.pt*")} == set()


def test_recipes_and_networks_are_replaced_field_by_field(tmp_path):
    args = options_of(["--audio", "x", "--out", "y", "--preset", "chimera", "--hidden", "12"])
    assert network_config(args) == dataclasses.replace(tp.NETWORKS["chimera"], hidden=12)
