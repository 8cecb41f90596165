"""A small slice of the kills, and that they see what must not be."""

import json

import pytest

from benchmarks import kills
from benchmarks.__main__ import main
from tests.support.training_runs import start


@pytest.mark.parametrize("job", kills.JOBS)
def test_killed_runs_lose_nothing(job, tmp_path):
    """In a process of its own, which forks before it has any thread."""
    out = tmp_path / "kills.md"
    child = start(["-m", "benchmarks", "kills", "--kills", "3", "--files", "4", "--jobs", job, "--out", out])
    _, said = child.communicate(timeout=600)
    assert child.returncode == 0, said
    (row,) = (line for line in out.read_text().splitlines() if line.startswith("| `"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "3" and cells[4:] == ["0"] * 4


class Careless(kills.Job):
    """Loses what it had finished, writes a record twice, and a file in place."""

    name = "careless"

    def start(self, out):
        (out / "done").write_text(str(len(list(self.folder.iterdir()))))
        return 0

    def state(self, out):
        return kills.State({"a": object()}, half=1, twice=2)

    def result(self, out):
        return (out / "done").read_text()


def test_what_must_not_be_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "_killed", lambda job, out, seconds: True)
    assert kills.kill(Careless(tmp_path, tmp_path / "careless"), 3, 0) == [3, 3, 1, 3, 6, 2, 1]


def test_a_fault_is_an_exit_status(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "kill", lambda job, count, seed: [3, 3, 1, 0, 0, 1, 0])
    assert main(["kills", "--files", "1", "--jobs", "label", "--out", str(tmp_path / "x.md")]) == 1


def test_a_stem_that_is_half_written_is_seen(tmp_path):
    job = kills.Separate(tmp_path, tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "vocals.wav").write_bytes(b"RIFF")
    record = json.dumps({"path": "/a", "output": "a"})
    (tmp_path / "separations.jsonl").write_text(f"{record}\n{record}\n{record[:9]}")
    state = job.state(tmp_path)
    assert (list(state.done), state.half, state.twice) == (["/a"], 1, 1)
