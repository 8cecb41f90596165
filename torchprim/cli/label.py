"""`torchprim label`: the confidence of the separation of each segment of music, as JSON lines."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from torchprim.cli import UsageError
from torchprim.cli.device import DEVICES, choose_ranks
from torchprim.cli.option_types import PRESET_NAMES, any_preset, count, number
from torchprim.cli.output import say
from torchprim.errors import AudioError, shown, writing
from torchprim.files import check_appendable

if TYPE_CHECKING:
    from torchprim.bootstrap.banks.bank import Bank
    from torchprim.bootstrap.labels import Labels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    parser.description = (
        "Separates every segment of 30 s and writes how far each can be trusted, a line of JSON each, for "
        "`torchprim train --labels`. What the file holds already is kept. `torchrun --nproc_per_node N -m "
        "torchprim label ...` shares the songs among N processes."
    )
    add("inputs", nargs="+", metavar="FILE_OR_FOLDER", help="music in any format")
    add("-o", "--out", required=True, metavar="FILE", help="such as labels.jsonl")
    text = f"ensemble: {PRESET_NAMES} of your own; four of drums, bass, other and vocals (best)"
    add("--preset", type=any_preset, default="best", help=text)
    add("--teacher", metavar="CHECKPOINT", help="a trained network instead, such as RUN/best.pt")
    add("--device", choices=DEVICES, default="auto", help="(auto)")
    add("--batch", type=count, default=4, metavar="N", help="segments at a time (4)")
    add("--cache", metavar="FOLDER", help="decoded songs (the user's cache folder)")
    add("--quietest", type=number, default=-40.0, metavar="LUFS", help="segments below are left out (-40)")


def run(args: argparse.Namespace) -> int:
    """Label the segments without a label; name the files that cannot be used, and do the rest."""
    if not args.out:
        raise UsageError("argument --out: must name a file, got ''")
    ranks = choose_ranks(args.device)
    out = Path(args.out)
    with writing(out):  # before hours of work, not after
        check_appendable(out)

    from torchprim.audio.find import OwnOutput, find_files
    from torchprim.bootstrap.banks.bank import Bank
    from torchprim.bootstrap.labels import count_labelled, label
    from torchprim.training.data import find_teacher

    teacher = find_teacher(args.teacher or "pcl", args.preset, ranks.device)
    errors: list[AudioError] = []
    own = OwnOutput()
    files = [file.path for file in find_files(args.inputs, errors.append, own)]
    if ranks.first:
        for error in errors:
            say(f"error: {error}", sys.stderr)
        if own.count:
            say(f"{own.count} files that torchprim wrote are left out", sys.stderr)
    if not files:
        return 1
    files = files[ranks.rank :: ranks.world]  # each rank decodes and separates its own songs
    if not files:
        return 1 if errors else 0
    bank = Bank(
        files,
        teacher.geometry.sample_rate,
        device=ranks.device,
        cache=args.cache,
        quietest=args.quietest,
        progress=ranks.first,
    )
    try:
        before = count_labelled(bank, teacher, out)
        with writing(out):
            labels = label(bank, teacher, out, batch_size=args.batch, progress=ranks.first)
    except ValueError as error:  # of a cue of one's own
        say(f"error: {error}", sys.stderr)
        return 1
    process = f"process {ranks.rank} of {ranks.world}: " if ranks.world > 1 else ""
    say(process + _summary(bank, labels, before, out, args.quietest))
    return 1 if errors or len(bank.names) < len(files) else 0  # a quiet song is no failure


def _summary(bank: Bank, labels: Labels, before: int, out: Path, quietest: float) -> str:
    import torch

    new = len(bank.segments) - before
    text = f"{new} segments labelled, {before} before, of {len(bank.names)} songs -> {shown(out)}"
    if len(labels.confidence):
        quartiles = labels.confidence.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
        text += "; confidence, quartiles " + " ".join(f"{value:.3f}" for value in quartiles)
    quiet = len(bank.names) - len({segment.song for segment in bank.segments})
    if quiet:
        text += f"; {quiet} songs quieter than {quietest:g} LUFS"
    return text
