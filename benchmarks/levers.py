"""Ablation of the recipe `small`: the gain of each setting of a training, one changed at a time, on a CPU.

Trains on `unlabelled` and on the mixtures of the even-numbered previews; scores are SD-SDR on the odd ones:
the network alone, and as one more cue of the ensemble. Finished trainings of the work folder are not
repeated, and a stopped run resumes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.data import data_root, preview_paths, read_preview
from torchprim.evaluation.markdown import table
from torchprim.evaluation.methods import Score, find_method, score_methods
from torchprim.evaluation.provenance import processor_line, versions_line
from torchprim.evaluation.songs import Song

ROOT = Path(__file__).resolve().parent.parent
# lever -> options of train.py that depart from the recipe
LEVERS: dict[str, list[str]] = {
    "recipe": [],
    "coherent share 0": ["--coherent", "0"],
    "coherent share 0.8": ["--coherent", "0.8"],
    "no confidence cut": ["--low", "0"],
    "most confident half": ["--low", "0.5"],
    "level ratio drawn, not the estimates' own": ["--natural", "0"],
    "random equaliser, 3 dB": ["--eq", "3"],
    "speed and pitch ±5 %": ["--speed", "0.05"],
    "an embedding head, too, deep clustering": ["--heads", "embedding,mask"],
    "an embedding head, too, whitened k-means": ["--heads", "embedding,mask", "--loss", "whitened"],
    "mask loss: L2 distance": ["--masking", "distance"],
    "mask loss: L1 distance": ["--masking", "distance", "--order", "1"],
    "no cues: the mixture alone": ["--cues", ""],
    "second generation": ["--teacher", "recipe"],
    "another seed": ["--seed", "1"],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs, about 20 MB each")
    parser.add_argument("--steps", type=int, default=200, help="of each training (%(default)s)")
    parser.add_argument("--only", nargs="*", choices=LEVERS, default=None, help="some levers (all)")
    parser.add_argument("--threads", type=int, default=1, help="of each training (%(default)s)")
    parser.add_argument("--labels", type=Path, default=None, help="labels of the primitives, made before")
    parser.add_argument("--cache", type=Path, default=None, help="of decoded songs (the user's)")


def _link_even_previews(folder: Path) -> Path:
    """Fill a folder with symbolic links to the even-numbered previews."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in preview_paths("even"):
        if not (folder / path.name).exists():
            (folder / path.name).symlink_to(path.resolve())
    return folder


def train(name: str, options: argparse.Namespace) -> Path:
    """Run train.py for a lever, unless it has finished before; return its last checkpoint."""
    run = options.work / "".join(c if c.isalnum() else "-" for c in name)
    done = run / f"done-{options.steps}"
    if done.exists():
        return run / "last.pt"
    changes, labels = list(LEVERS[name]), options.labels
    if "--teacher" in changes:
        changes[-1], labels = str(train(changes[-1], options)), None
    audio = [str(data_root() / "unlabelled"), str(_link_even_previews(options.work / "even"))]
    command = [sys.executable, str(ROOT / "train.py"), "--audio", *audio, "--out", str(run), "--resume"]
    command += ["--preset", "small", "--steps", str(options.steps), "--threads", str(options.threads)]
    for option, value in (("--labels", labels), ("--cache", options.cache)):
        command += [option, str(value)] if value else []
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    subprocess.run([*command, *changes], check=True, env=environment, stdout=sys.stderr)
    done.touch()
    return run / "last.pt"


def _scores(method: str, songs: list[Song]) -> list[Score]:
    methods = [find_method(method)]
    return [score for song in songs for score, _ in score_methods(methods, song)]


def _cells(scores: list[Score], ensemble: list[Score]) -> list[str]:
    mean = statistics.fmean(score.mean for score in scores)
    differences = [score.mean - other.mean for score, other in zip(scores, ensemble, strict=True)]
    error = statistics.stdev(differences) / len(differences) ** 0.5
    return [f"{mean:.2f}", f"{statistics.fmean(differences):+.2f} ± {error:.2f}"]


def run(options: argparse.Namespace) -> str:
    from tqdm import tqdm

    torch.set_num_threads(options.threads)
    songs = [read_preview(path) for path in preview_paths("odd")]
    ensemble = _scores("pcl", songs)
    rows = []
    for name in tqdm(options.only or list(LEVERS), desc="levers", unit="training"):
        checkpoint = train(name, options)
        alone, cue = _scores(str(checkpoint), songs), _scores(f"pcl+{checkpoint}", songs)
        rows.append([name, *_cells(alone, ensemble), *_cells(cue, ensemble)])
    mean = statistics.fmean(score.mean for score in ensemble)
    head = ["changed", "alone", "minus ensemble", "as a cue", "minus ensemble"]
    return "\n\n".join(
        [
            f"# Levers of a training: {options.steps} steps of `small`, one changed at a time",
            "Trained on 28 songs and the mixtures of the 20 even-numbered previews of MUSDB18, scored on the "
            "20 odd-numbered ones: mean SD-SDR of both sources in dB, and the mean of the paired differences "
            f"from the ensemble `best` ({mean:.2f}), ± its standard error. Two seeds differ by chance alone.",
            table(head, rows),
            f"{versions_line()}. {processor_line()}, {options.threads} thread(s).",
        ]
    )
