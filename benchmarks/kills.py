"""Runs of `separate`, `label` and `train` killed (SIGKILL) at random moments and restarted until done.

After each kill the output is checked: *half*, files under their final name that are not whole; *twice*,
records of what has one already; *lost*, what an earlier run had finished and is gone or made anew. At the
end the output must be that of a run that nobody killed. A run is a fork of this process, which has imported
everything, so that a kill comes while there is work. The exit status is 1 where a count is not 0.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import signal
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import soundfile
import torch
from tqdm import tqdm

from benchmarks.sound import synthetic_music
from torchprim.cli.main import main
from torchprim.evaluation.markdown import table
from torchprim.evaluation.provenance import versions_line
from torchprim.files import read_json_lines
from torchprim.networks.checkpoint import read_checkpoint

_RATE, _SECONDS = 8000, 1.5


class State(NamedTuple):
    """What a run, killed or not, has left."""

    done: dict[Hashable, Any]  # finished work, which no later run may touch
    half: int = 0
    twice: int = 0


class Job(ABC):
    """Command on a folder of music, resumed by the same words."""

    name: ClassVar[str]

    def __init__(self, music: Path, folder: Path) -> None:
        self.music, self.folder = music, folder

    @abstractmethod
    def start(self, out: Path) -> int:
        """Run the command to its end; return its exit status."""

    @abstractmethod
    def state(self, out: Path) -> State:
        """Inspect the output of a run that may have been killed."""

    @abstractmethod
    def result(self, out: Path) -> Any:
        """Return the content of a finished output, to compare."""


class Separate(Job):
    name = "torchprim separate"

    def start(self, out: Path) -> int:
        return main(["separate", str(self.music), "--out", str(out), "--method", "hpss", "--device", "cpu"])

    def state(self, out: Path) -> State:
        frames = round(_SECONDS * _RATE)
        half = sum(not _is_whole(path, frames) for path in out.rglob("*.wav"))
        records = _complete_lines(out / "separations.jsonl")
        times = {r["path"]: tuple(stem.stat().st_mtime_ns for stem in self._stems(out, r)) for r in records}
        return State(times, half, len(records) - len(times))

    def result(self, out: Path) -> dict[str, str]:
        return {
            record["path"]: "".join(
                hashlib.sha256(soundfile.read(stem, dtype="float32")[0]).hexdigest()
                for stem in self._stems(out, record)
            )
            for record in read_json_lines(out / "separations.jsonl")
        }

    def _stems(self, out: Path, record: dict[str, Any]) -> list[Path]:
        stems = (out / record["output"] / f"{name}.wav" for name in ("vocals", "accompaniment"))
        return [stem for stem in stems if stem.exists()]


class Label(Job):
    name = "torchprim label"

    def start(self, out: Path) -> int:
        cache = ["--cache", str(self.folder / "cache"), "--quietest", "-70", "--batch", "1"]
        return main(["label", str(self.music), "--out", str(out / "labels.jsonl"), "--device", "cpu", *cache])

    def state(self, out: Path) -> State:
        records = _complete_lines(out / "labels.jsonl")
        done = {_label_key(record): record["confidence"] for record in records}
        return State(done, 0, len(records) - len(done))

    def result(self, out: Path) -> dict[Hashable, float]:
        return {_label_key(record): record["confidence"] for record in read_json_lines(out / "labels.jsonl")}


class Train(Job):
    name = "torchprim train"

    def start(self, out: Path) -> int:
        small = "--layers 1 --channels 4 --batch-size 2 --frames 20 --slots 4 --every 2 --teacher-batch 2"
        more = "--validation-batches 1 --log-every 5 --check-every 4 --steps 24 --quietest -70 --device cpu"
        places = ["--audio", str(self.music), "--out", str(out), "--cache", str(self.folder / "cache")]
        return main(["train", *places, *small.split(), *more.split(), "--cues", "", "--resume"])

    def state(self, out: Path) -> State:
        half, step = 0, 0
        for name in ("best.pt", "last.pt"):
            if (out / name).exists():
                try:
                    step = read_checkpoint(out / name).training["step"]
                except Exception:  # whatever: it is not whole
                    half += 1
        return State(dict.fromkeys(range(step)), half)

    def result(self, out: Path) -> tuple[list[dict[str, Any]], str]:
        log = read_json_lines(out / "log.jsonl")
        weights = read_checkpoint(out / "last.pt").network.state_dict()
        digest = hashlib.sha256(b"".join(x.numpy().tobytes() for x in weights.values())).hexdigest()
        return [{k: v for k, v in record.items() if k != "seconds"} for record in log], digest


JOBS: dict[str, type[Job]] = {"separate": Separate, "label": Label, "train": Train}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=30, help="of each command (%(default)s)")
    parser.add_argument("--files", type=int, default=20, help="of music (%(default)s)")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS), help="commands (all)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (%(default)s)")


def run(options: argparse.Namespace) -> str:
    torch.set_num_threads(1)  # the threads of OpenMP do not survive a fork
    with tempfile.TemporaryDirectory() as folder:
        music = Path(folder, "music")
        music.mkdir()
        for number in range(options.files):
            soundfile.write(music / f"{number}.wav", synthetic_music(_SECONDS, _RATE, number).numpy(), _RATE)
        rows = []
        for name in options.jobs:
            job = JOBS[name](music, Path(folder, name))
            rows.append([f"`{job.name}`", *map(str, kill(job, options.kills, options.seed))])
    options.status = 1 if any(set(row[4:]) != {"0"} for row in rows) else 0
    head = ["command", "kills", "restarts", "finished outputs", "half", "twice", "lost", "differ at the end"]
    return "\n\n".join(
        [
            f"# Kills: {options.kills} of each command, on {options.files} files",
            table(head, rows),
            "SIGKILL after a random share of the time that an uninterrupted run takes, then a restart with "
            "the same words; an output that is finished is followed by another. *Half*: files under their "
            "final name that are not whole. *Twice*: records of what has one. *Lost*: finished work that is "
            "gone or made anew. *Differ*: finished outputs (stems, labels, losses and weights) that are not "
            f"those of the uninterrupted run, to the last bit. Seed {options.seed}.",
            f"{versions_line()}.",
        ]
    )


def kill(job: Job, kills: int, seed: int) -> list[int]:
    """Kill so many runs of a job; return kills, restarts, outputs, and the counts of what must not be."""
    _in_quiet(job, job.folder / "whole")  # fills the caches
    started = time.monotonic()
    _in_quiet(job, job.folder / "again")
    span = time.monotonic() - started
    generator, number, killed, restarts = random.Random(seed), 0, 0, 0
    outs, half, twice, lost, before = [job.folder / "0"], 0, 0, 0, {}
    with tqdm(total=kills, desc=job.name, unit="kill", leave=False, disable=None) as bar:
        while killed < kills:
            restarts += 1
            ended = not _killed(job, outs[-1], generator.uniform(0, span))
            state = job.state(outs[-1])
            half, twice = half + state.half, twice + state.twice
            lost += sum(key not in state.done or state.done[key] != value for key, value in before.items())
            before = state.done
            if ended:
                number += 1
                outs.append(job.folder / str(number))
                before = {}
            else:
                killed += 1
                bar.update()
    _in_quiet(job, outs[-1])
    whole = job.result(job.folder / "whole")
    return [killed, restarts, len(outs), half, twice, lost, sum(job.result(out) != whole for out in outs)]


def _in_quiet(job: Job, out: Path) -> None:
    """Run a job to its end in this process.

    Raises:
        RuntimeError: where it fails.
    """
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        out.mkdir(parents=True, exist_ok=True)
        status = job.start(out)
    if status:
        raise RuntimeError(f"{job.name} failed ({status}): {said.getvalue()[-500:]}")


def _killed(job: Job, out: Path, seconds: float) -> bool:
    """Start a run and kill it; return whether it had not ended before."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _in_quiet(job, out)
            status = 0
        finally:
            os._exit(status)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(f"a restart of {job.name} failed")
    return os.WIFSIGNALED(status)


def _is_whole(path: Path, frames: int) -> bool:
    try:
        return soundfile.info(path).frames == frames
    except soundfile.SoundFileError:
        return False


def _complete_lines(path: Path) -> list[dict[str, Any]]:
    """Read the records of JSON Lines that end; a kill may have cut the last one."""
    content = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in content.splitlines(keepends=True) if line.endswith("\n")]


def _label_key(record: dict[str, Any]) -> Hashable:
    return record["song"], record["start"], record["teacher"]
