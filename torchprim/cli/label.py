"""`torchprim label`: how far a separation of every segment of a folder of music can be trusted."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from torchprim.cli import UsageError
from torchprim.cli.device import DEVICES, choose_device
from torchprim.cli.separate import PRESETS
from torchprim.errors import AudioError, shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add = parser.add_argument
    parser.description = (
        "Separates every segment of 30 s and writes how far each can be trusted, a line of JSON each, for "
        "train.py --labels. What the file holds already is kept. `torchrun --nproc_per_node N -m torchprim "
        "label ...` shares the songs among N processes."
    )
    add("inputs", nargs="+", metavar="FILE_OR_FOLDER", help="music in any format")
    add("--out", required=True, metavar="FILE", help="such as labels.jsonl")
    add("--preset", choices=PRESETS, default="best", help="settings of the ensemble (best)")
    add("--teacher", metavar="CHECKPOINT", help="a trained network instead, such as RUN/best.pt")
    add("--device", choices=DEVICES, default="auto", help="(auto)")
    add("--batch", type=int, default=4, metavar="N", help="segments at a time (4)")
    add("--cache", metavar="FOLDER", help="decoded songs (the user's cache folder)")
    add("--quietest", type=float, default=-40.0, metavar="LUFS", help="segments below are left out (-40)")


def run(args: argparse.Namespace) -> int:
    """Label what is not labelled yet; files that cannot be used are named, and the rest is done."""
    if args.batch < 1:
        raise UsageError(f"argument --batch: must be at least 1, got {args.batch}")
    if not args.out:
        raise UsageError("argument --out: must name a file, got ''")
    rank, world = _ranks()
    device = choose_device(args.device)
    if device == "cuda" and world > 1:
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    out = Path(args.out)
    _check_writable(out)

    from torchprim.errors import CheckpointError
    from torchprim.training.data import find_teacher

    try:
        teacher = find_teacher(args.teacher or "pcl", args.preset, device)
    except CheckpointError as error:
        raise AudioError(error.path, error.reason) from error
    # Each process decodes and separates its own songs.
    files, errors = _files(args.inputs)
    for error in errors if rank == 0 else []:
        print(f"error: {error}", file=sys.stderr)
    if not files:
        return 1
    failed = len(errors)
    if files[rank::world]:
        failed += _label(files[rank::world], teacher, out, args, device, rank, world)
    return 1 if failed else 0


def _label(
    files: list[Path], teacher, out: Path, args: argparse.Namespace, device: str, rank: int, world: int
) -> int:
    """Label the songs of this process; how many of them could not be used."""
    import torch

    from torchprim.bootstrap.bank import Bank
    from torchprim.bootstrap.labels import count_labelled, label

    settings = {"device": device, "cache": args.cache, "quietest": args.quietest, "progress": rank == 0}
    bank = Bank(files, teacher.geometry.sample_rate, **settings)
    before = count_labelled(bank, teacher, out)
    try:
        labels = label(bank, teacher, out, batch_size=args.batch, progress=rank == 0)
    except OSError as error:
        raise AudioError(out, f"cannot be written: {error.strerror or error}") from error
    of = f"process {rank} of {world}: " if world > 1 else ""
    new = len(bank.segments) - before
    text = f"{of}{new} segments labelled, {before} before, of {len(bank.names)} songs -> {shown(out)}"
    if len(labels.confidence):
        quartiles = labels.confidence.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
        text += "; confidence, quartiles " + " ".join(f"{value:.3f}" for value in quartiles)
    quiet = len(bank.names) - len({segment.song for segment in bank.segments})
    if quiet:
        text += f"; {quiet} songs quieter than {args.quietest:g} LUFS"
    print(text, flush=True)
    return len(bank.skipped)


def _ranks() -> tuple[int, int]:
    """This process among those that torchrun started."""
    try:
        return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    except ValueError as error:
        raise UsageError(f"RANK and WORLD_SIZE must be whole numbers: {error}") from error


def _check_writable(out: Path) -> None:
    """Before hours of work, not after."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.open("ab").close()
    except OSError as error:
        raise AudioError(out, f"cannot be written: {error.strerror or error}") from error


def _files(given: list[str]) -> tuple[list[Path], list[AudioError]]:
    """Every file of sound among files and folders, each once; and what gave none."""
    from torchprim.audio.find import find_audio

    files: list[Path] = []
    errors: list[AudioError] = []
    for path in map(Path, given):
        found, before = [path], len(errors)
        if not path.exists():
            errors.append(AudioError(path, "no such file or folder"))
            continue
        if path.is_dir():
            found = find_audio(path, errors.append)
            if not found and len(errors) == before:
                errors.append(AudioError(path, "no file of sound in this folder"))
        files += found
    return list(dict.fromkeys(files)), errors
