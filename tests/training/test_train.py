"""train.py: files of a run, resuming after a kill, errors, and distributed training."""

import dataclasses
import json
import signal
import socket
import time

import pytest
import torch

import torchprim as tp
import train
from tests.support.page_reader import Page
from tests.support.training_runs import ROOT, TINY, curve, start, write_music, write_stems
from torchprim.networks.checkpoint import read_checkpoint


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    return write_music(tmp_path_factory.mktemp("data") / "music", 7)


@pytest.fixture(scope="module")
def stems(tmp_path_factory):
    return write_stems(tmp_path_factory.mktemp("data") / "stems", 4)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def common(music, cache, tmp_path_factory):
    """Arguments of all bootstrapped runs, which share their labels."""
    labels = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    data = ["--audio", music, "--cache", cache, "--labels", labels, "--teacher-preset", "companion"]
    return [*map(str, data), *TINY]


@pytest.fixture(scope="module")
def whole(common, tmp_path_factory):
    """A run that was not interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert train.main([*common, "--out", str(run), *_steps(24)]) == 0
    return run


def _steps(steps, check_every=4):
    return ["--steps", str(steps), "--check-every", str(check_every), "--speed", "0.05", "--autoclip", "30"]


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
    assert not list(whole.glob(".*"))


def test_a_resumed_run_has_a_whole_report(common, tmp_path):
    """The page after a stop shows the steps from before it, too."""
    run = tmp_path / "run"
    assert train.main([*common, "--out", str(run), *_steps(4)]) == 0
    assert train.main([*common, "--out", str(run), *_steps(8), "--resume"]) == 0
    said = "".join(Page((run / "report.html").read_text(encoding="utf-8")).text)
    validations = [record["validation"] for record in curve(run) if "validation" in record]
    assert len(validations) == 2
    for words in ("step 4", "step 8", "Step 8 of 8", "a held-out song", *(f"{v:.4f}" for v in validations)):
        assert words in said


def test_report_without_held_out_songs(common, tmp_path):
    run = tmp_path / "run"
    assert train.main([*common, "--out", str(run), *_steps(2), "--validation", "0"]) == 0
    said = "".join(Page((run / "report.html").read_text(encoding="utf-8")).text)
    (check,) = (record for record in curve(run) if "loss" not in record)
    losses = [record["loss"] for record in curve(run) if "loss" in record]
    assert check == {"step": 2}
    assert f"{sum(losses) / 2:.4f}" in said and "none is held out" in said


def test_a_run_goes_on_without_its_report(common, tmp_path, capsys):
    run = tmp_path / "run"
    (run / "report.html").mkdir(parents=True)
    assert train.main([*common, "--out", str(run), *_steps(4, 2)]) == 0
    assert capsys.readouterr().err.count("report.html: not written, the training goes on") == 1
    assert (run / "best.pt").exists()


def test_bars_of_a_run(common, tmp_path, capsys):
    """Filling the store is shown; labels that are all there already are not."""
    assert train.main([*common, "--out", str(tmp_path / "run"), *_steps(1)]) == 0
    capsys.readouterr()
    assert train.main([*common, "--out", str(tmp_path / "again"), *_steps(1)]) == 0
    said = capsys.readouterr().err
    assert "estimate: " in said and "label" not in said


def test_a_run_learns(whole):
    losses = [r["loss"] for r in curve(whole) if "loss" in r]
    assert sum(losses[-6:]) < sum(losses[:6])


def test_killed_runs_have_the_same_curve(common, whole, tmp_path):
    """SIGKILL twice, each time later; the log is that of the run that was not interrupted."""
    run = tmp_path / "killed"
    arguments = [ROOT / "train.py", *common, "--out", run, *_steps(24), "--resume"]
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
    assert train.main([*common, "--out", str(run), *_steps(24), "--resume"]) == 0
    assert curve(run) == curve(whole)


def test_an_earlier_run_is_not_overwritten(common, whole, capsys):
    before = (whole / "last.pt").read_bytes()
    assert train.main([*common, "--out", str(whole), *_steps(24)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("error: ")
    assert "last.pt: of an earlier run: --resume goes on with it" in said[-1]
    assert (whole / "last.pt").read_bytes() == before


def test_other_settings_are_reported_on_resuming(common, whole, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "last.pt").write_bytes((whole / "last.pt").read_bytes())
    assert train.main([*common, "--out", str(run), *_steps(25), "--resume", "--rate", "0.02"]) == 0
    assert "resumed with other settings: steps 24 -> 25, rate 0.01 -> 0.02" in capsys.readouterr().err


def test_true_stems_and_validation_on_them(common, stems, tmp_path):
    run = tmp_path / "run"
    arguments = [*common, "--stems", str(stems), "--out", str(run), *_steps(4), "--validation", "0.3"]
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
    assert train.main([*arguments, *_steps(2)]) == 0
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
    assert train.main([*common, "--out", str(run), *_steps(2), *change]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    assert message in said
    assert not (run / "log.jsonl").exists()


def test_pairs_need_two_songs(cache, tmp_path, capsys):
    """An error before segments are labelled; coherent pairs need one song."""
    one = write_music(tmp_path / "one", 1)
    arguments = ["--audio", str(one), "--cache", str(cache), "--teacher-preset", "companion", *TINY]
    run = tmp_path / "run"
    assert train.main([*arguments, "--out", str(run), *_steps(2)]) == 1
    assert "pairs need two songs" in capsys.readouterr().err.splitlines()[-1]
    assert not (run / "labels.jsonl").exists()
    assert train.main([*arguments, "--out", str(run), *_steps(2), "--coherent", "1"]) == 0


def test_wrong_usage(tmp_path, capsys):
    for arguments in (["--out", "x"], ["--out", "x", "--audio", "y", "--stems-share", "1"]):
        with pytest.raises(SystemExit) as stop:
            train.main(arguments)
        assert stop.value.code == 2


def test_a_nan_loss_stops_the_run(common, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train.Trainer, "step", lambda *_: torch.tensor(float("nan")))
    assert train.main([*common, "--out", str(tmp_path / "run"), *_steps(5)]) == 1
    assert "the loss of step 1 is nan" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run" / "last.pt").exists()


# --- distributed ----------------------------------------------------------------------------------

_TWO = """
import sys, torch, train
import torch.distributed as dist
from tests.support.training_runs import TINY
from torchprim.networks.build import build_network
from torchprim.networks.config import NetworkConfig
from torchprim.training.recipes import Recipe
from torchprim.bootstrap.batch import make_batch
from torchprim.training.trainer import Trainer

status = train.main(sys.argv[1:])  # too few songs for two processes; initialises the process group
rank = dist.get_rank()
config = NetworkConfig("tiny", layers=2, hidden=6, dropout=0.0, heads=("embedding", "mask"))
recipe = Recipe(precision="fp32")
generator = torch.Generator().manual_seed(0)
sounds = torch.randn(2, 4, 10240, generator=generator)

def gradients(part, world):
    torch.manual_seed(1)
    network = build_network(config)
    trainer = Trainer(network, recipe, rank=rank, world=world)
    batch = make_batch(*sounds[:, part], config.geometry)
    trainer.loss(batch, training=True).total.backward()
    return [p.grad for p in network.parameters()]

alone = gradients(slice(None), 1)
shared = gradients(slice(2 * rank, 2 * rank + 2), 2)
error = max(((a - b).abs().max() / a.abs().max()).item() for a, b in zip(alone, shared))
assert all(a.abs().max() > 0 for a in alone)
print("RESULT", status, error)
dist.barrier()
"""


def _port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def test_two_processes_average_gradients_and_fail_together(common, cache, tmp_path):
    """Gradients of 2 x B sequences equal those of 2B in one process; an error on one rank stops both."""
    few = write_music(tmp_path / "few", 3)  # one is held out
    arguments = ["--audio", few, "--cache", cache, "--teacher-preset", "companion", *TINY]
    arguments += ["--out", tmp_path / "run"]
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _port(), "PYTHONPATH": str(ROOT)}
    pair = [start(["-c", _TWO, *arguments], RANK=str(rank), **group) for rank in range(2)]
    said = [child.communicate(timeout=120) for child in pair]
    assert [child.returncode for child in pair] == [0, 0], said
    for out, _ in said:
        _, status, error = next(line for line in out.splitlines() if line.startswith("RESULT")).split()
        assert status == "1"
        assert float(error) < 1e-6
    assert [err.count("error: ") for _, err in said] == [1, 0]
    assert "pairs need two songs" in said[0][1]


def test_torchrun(common, tmp_path):
    """Two processes write one log."""
    command = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", _port(), "train.py"]
    child = start([*command, *common, "--out", tmp_path / "run", *_steps(6, 3)])
    out, said = child.communicate(timeout=180)
    assert child.returncode == 0, said
    assert out.count("best validation loss") == 1
    records = curve(tmp_path / "run")
    assert [r["step"] for r in records if "loss" in r] == list(range(1, 7))
    assert [r["step"] for r in records if "validation" in r] == [3, 6]


def test_recipes_and_networks_are_replaced_field_by_field(tmp_path):
    args = train.arguments(["--audio", "x", "--out", "y", "--preset", "chimera", "--hidden", "12"])
    assert train.network_config(args) == dataclasses.replace(tp.NETWORKS["chimera"], hidden=12)
