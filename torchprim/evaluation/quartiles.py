"""Figure 3 of the paper: one network for each quartile of confidence, by one recipe and one seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

QUARTILES = ("q1", "q2", "q3", "q4")


class TrainingFailed(Exception):
    """A training of a quartile ended with an error, which it has told itself."""


def training_command(train: Path, number: int, out: Path, args: Sequence[str]) -> list[str]:
    """The command line of one quartile's training; all share the labels, and differ in two numbers.

    Args:
        train: path of `train.py`.
        number: 0 for the least confident quarter, to 3.
        out: folder of all four.
        args: further options of `train.py`, the same for all.

    Example:
        >>> from pathlib import Path
        >>> from torchprim.evaluation.quartiles import training_command
        >>> training_command(Path("train.py"), 1, Path("out"), ["--seed", "0"])[4:]
        ['--labels', 'out/labels.jsonl', '--low', '0.25', '--high', '0.5', '--resume', '--seed', '0']
    """
    run = out / QUARTILES[number]
    bounds = ["--low", f"{number / 4:g}", "--high", f"{(number + 1) / 4:g}"]
    places = ["--out", str(run), "--labels", str(out / "labels.jsonl")]
    return [sys.executable, str(train), *places, *bounds, "--resume", *args]


def train_quartiles(train: Path, out: Path, args: Sequence[str]) -> list[Path]:
    """Train the four networks one after the other; finished ones are kept, a stopped one goes on.

    A finished run holds `finished.json` with the options it was trained with.

    Args:
        train: path of `train.py`.
        out: folder of all four.
        args: options of `train.py`, the same for all.

    Returns:
        the four checkpoints, `last.pt`: all have learnt for equally many steps.

    Raises:
        TrainingFailed: where a training ends with an error, or one is there with other options.
    """
    checkpoints = []
    for number, name in enumerate(QUARTILES):
        run = out / name
        marker = run / "started.json"
        run.mkdir(parents=True, exist_ok=True)
        wanted = list(args)
        before = json.loads(marker.read_text())["options"] if marker.exists() else wanted
        if before != wanted and (run / "last.pt").exists():
            raise TrainingFailed(f"{run}: was trained with {' '.join(before)}; give another --out")
        marker.write_text(json.dumps({"options": wanted}) + "\n")
        if not (run / "finished.json").exists():
            command = training_command(train, number, out, args)
            print(f"{name}: {' '.join(command[1:])}", file=sys.stderr)
            # The same waiting as everywhere: see torchprim/cli/main.py.
            status = subprocess.run(command, env={"OMP_WAIT_POLICY": "passive", **os.environ}).returncode
            if status:
                raise TrainingFailed(
                    f"{run}: the training ended with status {status}; the same command goes on"
                )
            (run / "finished.json").write_text(json.dumps({"command": command[1:]}) + "\n")
        checkpoints.append(run / "last.pt")
    return checkpoints
