"""train.py: files of a run, resuming after a kill, and errors."""

import dataclasses
import json
import signal
import time

import pytest
import torch

import torchprim as tp
import train
from tests.support.page_reader import Page
from tests.support.training_runs import (
    ROOT,
    TINY,
    curve,
    limited_file_size,
    start,
    steps,
    write_music,
    write_stems,
)
from torchprim.networks.checkpoint import read_checkpoint


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
    assert train.main([*common, "--out", str(run), *steps(4)]) == 0
    assert train.main([*common, "--out", str(run), *steps(8), "--resume"]) == 0
    said = "".join(Page((run / "report.html").read_text(encoding="utf-8")).text)
    validations = [record["validation"] for record in curve(run) if "validation" in record]
    assert len(validations) == 2
    for words in ("step 4", "step 8", "Step 8 of 8", "a held-out song", *(f"{v:.4f}" for v in validations)):
        assert words in said


def test_report_without_held_out_songs(common, tmp_path):
    run = tmp_path / "run"
    assert train.main([*common, "--out", str(run), *steps(2), "--validation", "0"]) == 0
    said = "".join(Page((run / "report.html").read_text(encoding="utf-8")).text)
    (check,) = (record for record in curve(run) if "loss" not in record)
    losses = [record["loss"] for record in curve(run) if "loss" in record]
    assert check == {"step": 2}
    assert f"{sum(losses) / 2:.4f}" in said and "none is held out" in said


def test_a_run_goes_on_without_its_report(common, tmp_path, capsys):
    run = tmp_path / "run"
    (run / "report.html").mkdir(parents=True)
    assert train.main([*common, "--out", str(run), *steps(4, 2)]) == 0
    assert capsys.readouterr().err.count("report.html: not written, the training goes on") == 1
    assert (run / "best.pt").exists()


def test_bars_of_a_run(common, tmp_path, capsys):
    """Filling the store is shown; labels that are all there already are not."""
    assert train.main([*common, "--out", str(tmp_path / "run"), *steps(1)]) == 0
    capsys.readouterr()
    assert train.main([*common, "--out", str(tmp_path / "again"), *steps(1)]) == 0
    said = capsys.readouterr().err
    assert "estimate: " in said and "label" not in said


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
    assert train.main([*common, "--out", str(run), *steps(24), "--resume"]) == 0
    assert curve(run) == curve(whole)
    for name in ("best.pt", "last.pt"):
        resumed, unbroken = (read_checkpoint(folder / name).network.state_dict() for folder in (run, whole))
        assert all(torch.equal(resumed[key], unbroken[key]) for key in unbroken)


def test_an_earlier_run_is_not_overwritten(common, whole, capsys):
    before = (whole / "last.pt").read_bytes()
    assert train.main([*common, "--out", str(whole), *steps(24)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("error: ")
    assert "last.pt: of an earlier run: --resume goes on with it" in said[-1]
    assert (whole / "last.pt").read_bytes() == before


def test_other_settings_are_reported_on_resuming(common, whole, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "last.pt").write_bytes((whole / "last.pt").read_bytes())
    assert train.main([*common, "--out", str(run), *steps(25), "--resume", "--rate", "0.02"]) == 0
    assert "resumed with other settings: steps 24 -> 25, rate 0.01 -> 0.02" in capsys.readouterr().err


def test_a_run_inside_its_music_is_resumed_with_the_same_songs(common, cache, tmp_path, capsys):
    music = write_music(tmp_path / "music", 4)
    run = music / "RUN"
    data = ["--audio", str(music), "--labels", str(run / "labels.jsonl"), "--out", str(run)]
    assert train.main([*common, *data, *steps(2, 2)]) == 0
    assert len(list(run.glob("examples/*/*.wav"))) == 3
    capsys.readouterr()
    assert train.main([*common, *data, *steps(4, 2), "--resume"]) == 0
    said = capsys.readouterr().err
    assert "3 files that torchprim wrote are left out" in said and "other music" not in said
    songs = {json.loads(line)["song"] for line in (run / "labels.jsonl").read_text().splitlines()}
    assert songs == {str(music / f"{number}.wav") for number in range(4)}
    (music / "0.wav").unlink()
    assert train.main([*common, *data, *steps(5, 2), "--resume"]) == 0
    told = f"other music than this run had before: 1 song gone ({music / '0.wav'})"
    assert told in capsys.readouterr().err


def test_true_stems_and_validation_on_them(common, stems, tmp_path):
    run = tmp_path / "run"
    arguments = [*common, "--stems", str(stems), "--out", str(run), *steps(4), "--validation", "0.3"]
    assert train.main([*arguments, "--stems-share", "0.5"]) == 0
    (check,) = (r for r in curve(run) if "validation" in r)
    assert {"sd_sdr_vocals", "sd_sdr_accompaniment"} < set(check)
    assert -31 < check["sd_sdr_vocals"] < 31
    page = "".join(Page((run / "report.html").read_text(encoding="utf-8")).text)
    for source in ("vocals", "accompaniment"):
        assert f"{check[f'sd_sdr_{source}']:.4f}" in page
        assert f"{check[f'teacher_sd_sdr_{source}']:.4f}" in page
    only = tmp_path / "only"  # stems for validation alone
    assert train.main([*arguments, "--stems-share", "0", "--out", str(only)]) == 0
    assert "sd_sdr_vocals" in curve(only)[-1]


def test_second_generation(common, whole, stems, tmp_path):
    first = whole / "best.pt"
    run = tmp_path / "second"
    arguments = [*common, "--labels", str(tmp_path / "l.jsonl"), "--teacher", str(first), "--out", str(run)]
    assert train.main([*arguments, *steps(2)]) == 0
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
    assert train.main([*common, "--out", str(run), *steps(2), *change]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    assert message in said
    assert not (run / "log.jsonl").exists()


def test_pairs_need_two_songs(cache, tmp_path, capsys):
    """An error before segments are labelled; coherent pairs need one song."""
    one = write_music(tmp_path / "one", 1)
    arguments = ["--audio", str(one), "--cache", str(cache), "--teacher-preset", "companion", *TINY]
    run = tmp_path / "run"
    assert train.main([*arguments, "--out", str(run), *steps(2)]) == 1
    assert "pairs need two songs" in capsys.readouterr().err.splitlines()[-1]
    assert not (run / "labels.jsonl").exists()
    assert train.main([*arguments, "--out", str(run), *steps(2), "--coherent", "1"]) == 0


def test_wrong_usage(tmp_path, capsys):
    for arguments in (["--out", "x"], ["--out", "x", "--audio", "y", "--stems-share", "1"]):
        with pytest.raises(SystemExit) as stop:
            train.main(arguments)
        assert stop.value.code == 2


def test_a_nan_loss_stops_the_run(common, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train.Trainer, "step", lambda *_: torch.tensor(float("nan")))
    assert train.main([*common, "--out", str(tmp_path / "run"), *steps(5)]) == 1
    assert "the loss of step 1 is nan" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run" / "last.pt").exists()


def test_weights_that_are_nan_replace_no_checkpoint(common, whole, tmp_path, capsys, monkeypatch):
    """The last step's loss is finite, its gradient is not."""
    run, step = tmp_path / "run", train.Trainer.step
    run.mkdir()
    (run / "last.pt").write_bytes((whole / "last.pt").read_bytes())

    def diverge(trainer, *arguments):
        loss = step(trainer, *arguments)
        torch.nn.init.constant_(next(trainer.network.parameters()), float("nan"))
        return loss

    monkeypatch.setattr(train.Trainer, "step", diverge)
    arguments = [*common, "--out", str(run), *steps(25), "--resume"]
    assert train.main(arguments) == 1
    assert "the validation loss after step 25 is nan" in capsys.readouterr().err.splitlines()[-1]
    assert train.main([*arguments, "--validation", "0"]) == 1
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
    with pytest.raises(SystemExit) as stop:
        train.main(["--audio", "x", "--out", "y", option, value])
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"train.py: error: argument {option}: {message}"


def test_one_training_at_a_time(common, whole, tmp_path, capsys):
    """A folder in use is refused; the lock of a process that was killed is gone with it."""
    holder = "import sys, time\nfrom pathlib import Path\nfrom torchprim.training.run_folder import reserve\n"
    holder += "with reserve(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"
    run = tmp_path / "run"
    other = start(["-c", holder, run])
    assert other.stdout.readline() == "held\n"
    arguments = [*common, "--out", str(run), *steps(1)]
    assert train.main(arguments) == 1
    assert (
        capsys.readouterr().err
        == f"error: {run}: is in use by another training; give another --out, or wait\n"
    )
    other.kill()
    other.communicate()
    assert train.main(arguments) == 0


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
    assert train.main([*common, "--out", str(run), *steps(25), "--resume"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {run / 'last.pt'}: its state of the training is damaged (")


def test_a_full_disk_is_named(common, whole, tmp_path, capsys):
    """A limit on the size of files stands for it."""
    run = tmp_path / "run"
    with limited_file_size(4096):
        status = train.main([*common, "--out", str(run), *steps(2), "--validation", "0"])
    assert status == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"File too large: '{run / 'best.pt'}'")
    assert {path.name for path in run.glob("*.pt*")} == set()


def test_recipes_and_networks_are_replaced_field_by_field(tmp_path):
    args = train.arguments(["--audio", "x", "--out", "y", "--preset", "chimera", "--hidden", "12"])
    assert train.network_config(args) == dataclasses.replace(tp.NETWORKS["chimera"], hidden=12)
