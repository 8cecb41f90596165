"""`torchprim separate`: two stems for each file, and one line about it in `separations.jsonl`."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from torchprim.cli import UsageError
from torchprim.cli.device import DEVICES, choose_device
from torchprim.cli.records import Records
from torchprim.errors import AudioError, one_line, shown
from torchprim.version import __version__

if TYPE_CHECKING:
    from torchprim.cli.inputs import Song

# As in presets.py and separator.py, which import torch: help must not wait for that. A test compares.
PRESETS = ("best", "paper", "companion")
METHODS = ("pcl", "hpss", "long-hpss", "2dft-r", "2dft-m", "melody", "repet-sim")
_SEED = 0  # of the bins that the confidence is computed from: the same file gives the same numbers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
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
    """Separate everything that was given; what fails is named, and the rest is done."""
    from tqdm import tqdm

    from torchprim.cli.inputs import gather, name_folders

    if not args.out:
        raise UsageError("argument --out: must name a folder, got ''")
    if args.with_primitives and args.checkpoint is None:
        raise UsageError("argument --with-primitives: needs a network, named by --checkpoint")
    if args.checkpoint is not None and args.method != "pcl":
        raise UsageError(f"argument --method: {args.method} is one cue, and --checkpoint names a network")
    out = Path(args.out)
    device = choose_device(args.device)
    if args.checkpoint is not None:
        args.digest = _digest(args.checkpoint)
    try:
        records = Records(out)
        found = gather(args.inputs, out, records.by_path)
        for problem in found.errors:
            _say(f"error: {problem}", sys.stderr)
        if found.results:
            _say(f"{found.results} stems of an earlier run are not separated again")
        if found.songs:
            records.open()
    except FileExistsError as error:
        raise AudioError(out, "is a file, and cannot be the output folder") from error
    except OSError as error:
        raise AudioError(out, f"cannot be written: {error.strerror or error}") from error

    folders = name_folders(found.songs, records.by_path)
    tasks = [
        (song, folder)
        for song, folder in zip(found.songs, folders, strict=True)
        if args.overwrite or not _is_done(song, records.by_path.get(song.key), out, args)
    ]
    separator = _separator(args, device) if tasks else None
    separated = 0
    with tqdm(total=len(tasks), unit="file", disable=None, dynamic_ncols=True) as bar:
        for song, folder in tasks:
            try:
                record, notes = _separate(song, folder, separator, device, args)
                records.append(record)
            except ImportError:  # would be the same for every file
                raise
            except Exception as error:
                _say(f"error: {one_line(song.path, error, device)}", sys.stderr)
            else:
                separated += 1
                for note in notes:
                    _say(f"warning: {AudioError(song.path, note)}", sys.stderr)
                _say(_summary(song.path, out / folder, record))
            bar.update()
    failed = len(tasks) - separated + len(found.errors)
    _say(f"{separated} separated, {len(found.songs) - len(tasks)} done before, {failed} failed")
    if tasks:
        try:
            records.tidy()
        except OSError as error:
            raise AudioError(records.path, f"cannot be written: {error.strerror or error}") from error
    return 1 if failed else 0


def _say(text: str, stream: Any = None) -> None:
    from tqdm import tqdm

    tqdm.write(text, file=stream or sys.stdout)  # keeps clear of the bars


def _separator(args: argparse.Namespace, device: str) -> Any:
    if args.checkpoint is not None:
        from torchprim.errors import CheckpointError
        from torchprim.separators.network import load

        try:
            network = load(args.checkpoint, device)
        except CheckpointError as error:
            raise AudioError(error.path, error.reason) from error
        return network.with_primitives(args.preset).to(device).eval() if args.with_primitives else network

    from torchprim.separators.primitive import PrimitiveSeparator

    return PrimitiveSeparator(args.preset, args.method).to(device).eval()


def _settings(args: argparse.Namespace) -> dict[str, str]:
    if args.checkpoint is None:
        return {"preset": args.preset, "method": args.method, "format": args.format}
    beside = {"preset": args.preset, "method": "pcl + network"}
    alone = {"preset": "network", "method": "network"}
    chosen = beside if args.with_primitives else alone
    return {**chosen, "format": args.format, "checkpoint": args.digest}


def _digest(checkpoint: str) -> str:
    """A word for the content of the checkpoint: stems of another are made anew."""
    try:
        with open(checkpoint, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise AudioError(checkpoint, (error.strerror or str(error)).lower()) from error


def _is_done(song: Song, record: dict[str, Any] | None, out: Path, args: argparse.Namespace) -> bool:
    """Whether the stems are there, of this very file, made with the same settings."""
    from torchprim.cli.inputs import STEM_NAMES

    if record is None:
        return False
    try:
        status = os.stat(song.path)
    except OSError:
        return False
    wanted = {"size": status.st_size, "modified_ns": status.st_mtime_ns, **_settings(args)}
    return all(record.get(key) == value for key, value in wanted.items()) and all(
        (out / record.get("output", "") / f"{stem}.{args.format}").is_file() for stem in STEM_NAMES
    )


def _separate(
    song: Song, folder: PurePath, separator: Any, device: str, args: argparse.Namespace
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Separate one file and write its stems: its record, and notes on what of it could not be decoded."""
    import torch
    from tqdm import tqdm

    from torchprim.audio.load import read
    from torchprim.audio.write import save_stems
    from torchprim.cli.inputs import STEM_NAMES

    status = os.stat(song.path)
    audio, rate, notes = read(song.path)
    target = Path(args.out) / folder
    if args.format == "wav":
        _check_space(Path(args.out), len(STEM_NAMES) * audio.numel() * audio.element_size())
    with tqdm(desc=song.path.name, unit="piece", leave=False, disable=None, dynamic_ncols=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        with torch.inference_mode():
            result = separator(
                audio.to(device),
                rate,
                channels=True,
                generator=torch.Generator(device).manual_seed(_SEED),
                keep_masks=False,
                progress=progress,
            )
    channels, samples = audio.shape
    del audio
    stems = dict(zip(STEM_NAMES, (result.vocals, result.accompaniment), strict=True))
    gain = save_stems({target / f"{name}.{args.format}": stem for name, stem in stems.items()}, rate)
    record = {
        "path": song.key,
        "seconds": samples / rate,
        "confidence": result.confidence.item(),
        "silhouette": result.silhouette.item(),
        "posterior": result.posterior.item(),
        **_settings(args),
        "version": __version__,
        "sample_rate": rate,
        "channels": channels,
        "gain": gain,
        "output": folder.as_posix(),
        "size": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "notes": list(notes),
    }
    return record, notes


def _check_space(out: Path, needed: int) -> None:
    """Refuse at once, before minutes of work, what cannot fit on the disk."""
    free = shutil.disk_usage(out).free
    if free < needed:
        raise AudioError(
            out, f"the disk is full: {needed / 1e6:.1f} MB are needed, {free / 1e6:.1f} are free"
        )


def _summary(path: Path, target: Path, record: dict[str, Any]) -> str:
    values = ", ".join(f"{name} {record[name]:.3f}" for name in ("confidence", "silhouette", "posterior"))
    gain = f", gain {record['gain']:.4f} on both stems" if record["gain"] != 1 else ""
    return f"{shown(path)}: {record['seconds']:.1f} s, {values}{gain} -> {shown(target)}"
