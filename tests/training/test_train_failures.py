"""`torchprim train`: what ends a training, or is refused, each in one line."""

import pytest
import torch

from tests.support.training_runs import (
    TINY,
    limited_file_size,
    start,
    steps,
    train,
    write_music,
)
from torchprim.networks.checkpoint import read_checkpoint
from torchprim.training.trainer import Trainer


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
