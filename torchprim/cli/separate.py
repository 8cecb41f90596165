"""`torchprim separate`: two stems for each file, and one line about it in `separations.jsonl`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from torchprim.cli import UsageError
from torchprim.cli.device import DEVICES, choose_device
from torchprim.cli.output import say
from torchprim.cli.records import Records
from torchprim.cli.separation import Settings, build_separator, digest_of, is_done, separate_file
from torchprim.errors import AudioError, one_line, shown, writing

# As in ensemble/presets.py and separators/primitive.py, which import torch: help must not wait for that.
# A test compares.
PRESETS = ("best", "paper", "companion")
METHODS = ("pcl", "hpss", "long-hpss", "2dft-r", "2dft-m", "melody", "repet-sim")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("inputs", nargs="+", metavar="FILE_OR_FOLDER", help="music in any format")
    parser.add_argument("--out", required=True, metavar="DIR", help="where DIR/<name>/vocals.wav will be")
    parser.add_argument("--preset", choices=PRESETS, default="best", help="settings of the ensemble (best)")
    parser.add_argument("--method", choices=METHODS, default="pcl", help="the ensemble, or one cue (pcl)")
    parser.add_argument("--checkpoint", metavar="FILE", help="a trained network instead: RUN/best.pt")
    parser.add_argument(
        "--with-primitives",
        action="store_true",
        help="the network as one more cue of the ensemble that --preset names",
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="(auto)")
    parser.add_argument(
        "--format",
        choices=("wav", "flac"),
        default="wav",
        help="32-bit float WAV, or 24-bit FLAC with one gain for both stems where a sample exceeds 1 (wav)",
    )
    parser.add_argument("--overwrite", action="store_true", help="separate again what is done already")


def run(args: argparse.Namespace) -> int:
    """Separate all input files; name those that fail, and do the rest."""
    from tqdm import tqdm

    from torchprim.cli.inputs import gather, name_folders

    settings = _settings(args)
    out = settings.out
    with writing(out):
        try:
            records = Records(out)
            gathered = gather(args.inputs, out)
            for error in gathered.errors:
                say(f"error: {error}", sys.stderr)
            if gathered.files:
                records.open()
        except FileExistsError as error:
            raise AudioError(out, "is a file, and cannot be the output folder") from error
    if gathered.results:
        say(f"{gathered.results} stems of an earlier run are not separated again")

    folders = name_folders(gathered.files, records.by_path)
    tasks = [
        (file, folder)
        for file, folder in zip(gathered.files, folders, strict=True)
        if args.overwrite or not is_done(file, records.by_path.get(file.key), settings)
    ]
    separator = build_separator(settings) if tasks else None
    separated = 0
    with tqdm(total=len(tasks), unit="file", disable=None, dynamic_ncols=True) as bar:
        for file, folder in tasks:
            try:
                record, notes = separate_file(file, folder, separator, settings)
                records.append(record)
            except ImportError:  # would be the same for all files
                raise
            except Exception as error:
                say(f"error: {one_line(file.path, error, settings.device)}", sys.stderr)
            else:
                separated += 1
                for note in notes:
                    say(f"warning: {AudioError(file.path, note)}", sys.stderr)
                say(_summary(file.path, out / folder, record))
            bar.update()
    failed = len(tasks) - separated + len(gathered.errors)
    say(f"{separated} separated, {len(gathered.files) - len(tasks)} done before, {failed} failed")
    if tasks:
        with writing(records.path):
            records.tidy()
    return 1 if failed else 0


def _settings(args: argparse.Namespace) -> Settings:
    if not args.out:
        raise UsageError("argument --out: must name a folder, got ''")
    if args.with_primitives and args.checkpoint is None:
        raise UsageError("argument --with-primitives: needs a network, named by --checkpoint")
    if args.checkpoint is not None and args.method != "pcl":
        raise UsageError(f"argument --method: {args.method} is one cue, and --checkpoint names a network")
    return Settings(
        out=Path(args.out),
        device=choose_device(args.device),
        preset=args.preset,
        method=args.method,
        format=args.format,
        checkpoint=args.checkpoint,
        with_primitives=args.with_primitives,
        digest=None if args.checkpoint is None else digest_of(args.checkpoint),
    )


def _summary(path: Path, target: Path, record: dict[str, Any]) -> str:
    values = ", ".join(f"{name} {record[name]:.3f}" for name in ("confidence", "silhouette", "posterior"))
    gain = f", gain {record['gain']:.4f} on both stems" if record["gain"] != 1 else ""
    return f"{shown(path)}: {record['seconds']:.1f} s, {values}{gain} -> {shown(target)}"
