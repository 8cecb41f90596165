"""Training by several processes: gradients, one log, and what happens when one of them ends."""

import os
import signal
import socket
import time

import pytest

from tests.support.training_runs import ROOT, TINY, curve, start, steps, write_music
from torchprim.training import ranks
from torchprim.training.ranks import Ranks

_TWO = """
import sys, torch
import torch.distributed as dist
from tests.support.training_runs import TINY
from torchprim.cli.main import main
from torchprim.networks.build import build_network
from torchprim.networks.config import NetworkConfig
from torchprim.training.recipes import Recipe
from torchprim.bootstrap.batch import make_batch
from torchprim.training.trainer import Trainer

status = main(["train", *sys.argv[1:]])  # too few songs for two processes; initialises the process group
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


@pytest.mark.parametrize("program", [["train.py"], ["-m", "torchprim", "train"]])
def test_torchrun(common, tmp_path, program):
    """Two processes write one log."""
    command = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", _port(), *program]
    child = start([*command, *common, "--out", tmp_path / "run", *steps(6, 3)])
    out, said = child.communicate(timeout=180)
    assert child.returncode == 0, said
    assert out.count("best validation loss") == 1
    records = curve(tmp_path / "run")
    assert [r["step"] for r in records if "loss" in r] == list(range(1, 7))
    assert [r["step"] for r in records if "validation" in r] == [3, 6]


def _pair(arguments, first="train.py", second="train.py"):
    """Start two processes without an agent that would end one for the other."""
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _port(), "PYTHONPATH": str(ROOT)}
    programs = [program.split(" ", 1) for program in (first, second)]
    return [start([*p, *arguments], RANK=str(r), **group) for r, p in enumerate(programs)]


def _wait_for_steps(run, child):
    deadline = time.monotonic() + 120
    while child.poll() is None and time.monotonic() < deadline:
        if (run / "log.jsonl").exists() and curve(run):
            return
        time.sleep(0.05)
    raise AssertionError(child.communicate()[1])


def test_a_killed_rank_ends_the_other_under_torchrun(common, tmp_path):
    run = tmp_path / "run"
    command = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", _port(), "train.py"]
    agent = start([*command, *common, "--out", run, *steps(10**6)])
    _wait_for_steps(run, agent)
    children = _children(agent.pid)
    assert len(children) == 2
    os.kill(children[1], signal.SIGKILL)
    agent.communicate(timeout=90)  # the process group would wait for six hours
    assert agent.returncode == 1
    assert not any(map(_runs, children))


def _children(pid):
    return [int(child) for child in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_other_without_an_agent(common, tmp_path, victim):
    run = tmp_path / "run"
    pair = _pair([*common, "--out", run, *steps(10**6)])
    _wait_for_steps(run, pair[0])
    pair[victim].kill()
    said = [child.communicate(timeout=90)[1] for child in pair]
    assert pair[1 - victim].returncode == 1
    assert said[1 - victim].endswith(f"error: process {1 - victim} of 2: another process has ended\n")
    assert "Traceback" not in said[1 - victim]


_OUT_OF_MEMORY = """-c import sys, torch
from torchprim.cli.main import main
from torchprim.training.trainer import Trainer
step = Trainer.step
def exhausted(trainer, batch, number):
    return torch.empty(10**15) if number == 3 else step(trainer, batch, number)
Trainer.step = exhausted
sys.exit(main(["train", *sys.argv[1:]]))
"""


def test_a_rank_out_of_memory_ends_both(common, tmp_path):
    pair = _pair([*common, "--out", tmp_path / "run", *steps(10**6)], second=_OUT_OF_MEMORY)
    said = [child.communicate(timeout=120)[1] for child in pair]
    assert [child.returncode for child in pair] == [1, 1]
    assert said[0].endswith("error: process 0 of 2: another process has ended\n")
    assert said[1].endswith("error: process 1 of 2: not enough memory; fewer sequences or frames need less\n")
    assert not any("Traceback" in text for text in said)


def test_unequal_shares_of_songs(cache, tmp_path):
    """Five songs, of which rank 0 has three segments and rank 1 two; then one process goes on alone."""
    music, run = write_music(tmp_path / "music", 5), tmp_path / "run"
    data = ["--audio", music, "--cache", cache, "--teacher-preset", "companion", *TINY, "--validation", "0"]
    data += ["--low", "0", "--out", run]
    pair = _pair([*data, *steps(3, 3)])
    said = [child.communicate(timeout=120)[1] for child in pair]
    assert [child.returncode for child in pair] == [0, 0], said
    assert len((run / "labels.jsonl").read_text().splitlines()) == 5
    alone = start(["train.py", *data, *steps(4, 3), "--resume"])
    said = alone.communicate(timeout=120)[1]
    assert alone.returncode == 0
    assert "processes 2 -> 1 (batches of 1 x 2 sequences, and other remixes)" in said
    assert [record["step"] for record in curve(run) if "loss" in record] == [1, 2, 3, 4]


def test_processes_that_never_come_are_named(monkeypatch):
    monkeypatch.setattr(ranks, "_START", ranks.timedelta(seconds=1))
    variables = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _port()}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConnectionError, match=r"^process 0 of 2: the others are missing$"):
        ranks.start_ranks("cpu")


def test_errors_of_one_process_keep_their_type():
    alone = Ranks(0, 1, ranks.torch.device("cpu"))
    with pytest.raises(MemoryError, match=r"^not enough memory; fewer sequences"), alone.naming_errors():
        ranks.torch.empty(10**15)
    with pytest.raises(RuntimeError, match="a bug"), alone.naming_errors():
        raise RuntimeError("a bug")
    with pytest.raises(ZeroDivisionError), alone.sharing_errors():
        raise ZeroDivisionError
