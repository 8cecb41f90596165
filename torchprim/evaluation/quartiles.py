"""Figure 3 of the paper: a network trained on each quartile of confidence, with one recipe and one seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchprim.files import replaced

QUARTILES = ("q1", "q2", "q3", "q4")


class TrainingFailed(Exception):
    """The training of a quartile exited with an error, which it has printed, or cannot be resumed."""


def training_command(number: int, out: Path, args: Sequence[str]) -> list[str]:
    """Build the command line of one quartile's training: `--low`, `--high` and `--out` are its own.

    Args:
        number: of the quartile, from 0, the least confident.
        out: folder of all four.
        args: further options of `torchprim train`, the same for all.

    Example:
        >>> from pathlib import Path
        >>> from torchprim.evaluation.quartiles import training_command
        >>> training_command(1, Path("out"), ["--seed", "0"])[6:]
        ['--labels', 'out/labels.jsonl', '--low', '0.25', '--high', '0.5', '--resume', '--seed', '0']
    """
    run = out / QUARTILES[number]
    bounds = ["--low", f"{number / 4:g}", "--high", f"{(number + 1) / 4:g}"]
    paths = ["--out", str(run), "--labels", str(out / "labels.jsonl")]
    return [sys.executable, "-m", "torchprim", "train", *paths, *bounds, "--resume", *args]


def train_quartiles(out: Path, args: Sequence[str]) -> list[Path]:
    """Train the four networks one after the other; a finished training is skipped, a stopped one resumes.

    `started.json` of a run holds the options of its training; `finished.json` marks its end.

    Args:
        out: folder of all four.
        args: options of `torchprim train`, the same for all.

    Returns:
        the four checkpoints `last.pt`, after equally many steps.

    Raises:
        TrainingFailed: where a training exits with an error, or was started with other options, or its
            `started.json` is damaged.
    """
    checkpoints = []
    for number, name in enumerate(QUARTILES):
        run = out / name
        started = run / "started.json"
        run.mkdir(parents=True, exist_ok=True)
        options = list(args)
        previous = _options_of(started) if started.exists() else options
        if previous != options and (run / "last.pt").exists():
            raise TrainingFailed(f"{run}: was trained with {' '.join(previous)}; give another --out")
        _write(started, {"options": options})
        if not (run / "finished.json").exists():
            command = training_command(number, out, args)
            print(f"{name}: {' '.join(command[1:])}", file=sys.stderr)
            status = subprocess.run(command, env=_environment()).returncode
            if status:
                raise TrainingFailed(
                    f"{run}: the training ended with status {status}; the same command goes on"
                )
            _write(run / "finished.json", {"command": command[1:]})
        checkpoints.append(run / "last.pt")
    return checkpoints


def _environment() -> dict[str, str]:
    """Return the environment of a training, which imports the package that this process has imported."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    # Idle threads of OpenMP sleep, as in the commands: see torchprim/cli/main.py.
    return {"OMP_WAIT_POLICY": "passive", **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _options_of(path: Path) -> list[str]:
    """Read the options that a training was started with."""
    try:
        options = json.loads(path.read_text())["options"]
        if isinstance(options, list) and all(isinstance(word, str) for word in options):
            return options
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    raise TrainingFailed(f"{path}: does not hold the options of a training; give another --out")


def _write(path: Path, content: dict[str, Any]) -> None:
    with replaced(path) as file:
        file.write(json.dumps(content).encode() + b"\n")
