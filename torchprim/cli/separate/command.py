"""`torchprim separate`: the stems of each file, and one line about it in `separations.jsonl`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from torchprim.cli import UsageError
from torchprim.cli.device import DEVICES, choose_device
from torchprim.cli.option_types import PRESET_NAMES, PRESETS, preset, whole_number
from torchprim.cli.output import say
from torchprim.cli.separate import FORMATS
from torchprim.cli.separate.earlier import Occupied, Task, describe_occupied, plan
from torchprim.cli.separate.names import DEFAULT, check_template, fold
from torchprim.cli.separate.records import Records
from torchprim.cli.separate.separation import build_separator, remove_replaced, separate_file
from torchprim.cli.separate.settings import Settings, digest_of, sources_of
from torchprim.errors import AudioError, PresetError, one_line, shown, writing
from torchprim.progress import bar as progress_bar
from torchprim.sources import FOUR, TWO

# As in separators/primitive.py, which imports torch: help must not wait for that. A test compares.
METHODS = ("pcl", "hpss", "long-hpss", "2dft-r", "2dft-m", "melody", "repet-sim")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("inputs", nargs="+", metavar="FILE_OR_FOLDER", help="music in any format; - for standard input")
    add("-o", "--out", default="separated", metavar="DIR", help="folder of the stems (%(default)s)")
    add(
        "--name",
        default=DEFAULT,
        metavar="TEMPLATE",
        help="names of the stems in DIR, without the extension: {song} and {stem} (%(default)s)",
    )
    add(
        "--stems",
        type=int,
        choices=(2, 4),
        help="2: vocals and accompaniment; 4: drums, bass, other and vocals (2; of a network what it has)",
    )
    add("--only", metavar="STEM", help="one of the stems: vocals, accompaniment, drums and so on (all)")
    add(
        "--format",
        choices=FORMATS,
        default="wav",
        help="32-bit float WAV; 24-bit FLAC or MP3, with one gain for all stems where a sample "
        "exceeds 1 (wav)",
    )
    add(
        "--bitrate",
        type=whole_number(64, 320),
        metavar="KBPS",
        help="of MP3, 64 to 320 kbit/s (320)",
    )
    add(
        "--audio-track",
        type=whole_number(1, 999),
        metavar="N",
        help="number of the audio track, in films with several (1; of a .stem.mp4 the sum of its stems)",
    )
    add("--preset", type=preset, help=f"ensemble: {PRESET_NAMES} of your own, of two stems or more (best)")
    add("--method", help=f"the ensemble, or one cue, for two stems: {', '.join(METHODS)} (pcl)")
    add("--checkpoint", metavar="FILE", help="a trained network instead: RUN/best.pt")
    add(
        "--with-primitives",
        action="store_true",
        help="the network as one more cue of the ensemble that --preset names",
    )
    add("--device", choices=DEVICES, default="auto", help="(auto)")
    add(
        "--overwrite",
        action="store_true",
        help="separate again what is done already, and replace stems of other settings",
    )


def run(args: argparse.Namespace) -> int:
    """Separate all input files; name those that fail, and do the rest."""
    from torchprim.cli.separate.inputs import STANDARD_INPUT, gather, name_folders
    from torchprim.cli.separate.standard_input import standard_input

    settings = _settings(args)
    out = settings.out
    with contextlib.ExitStack() as stack:
        with writing(out):
            try:
                records = Records(out)
                gathered = gather([given for given in args.inputs if given != STANDARD_INPUT], out)
                files = list(gathered.files)
                if STANDARD_INPUT in args.inputs:
                    files.append(stack.enter_context(standard_input(out)))
                for error in gathered.errors:
                    say(f"error: {error}", sys.stderr)
                if files:
                    records.open()
            except FileExistsError as error:
                raise AudioError(out, "is a file, and cannot be the output folder") from error
        if gathered.results:
            say(f"{gathered.results} stems of an earlier run are not separated again")
        check_template(settings.template, len(settings.stems) == 1, len(files) <= 1)
        songs = name_folders(files, records.by_path)
        tasks, refused = _plan(list(zip(files, songs, strict=True)), records, settings, args.overwrite)
        separated = _separate(tasks, records, settings)
    failed = len(tasks) - separated + refused + len(gathered.errors)
    done = len(files) - len(tasks) - refused
    say(f"{separated} separated, {done} done before, {failed} failed")
    if tasks:
        with writing(records.path):
            records.tidy()
    return 1 if failed else 0


def _plan(
    songs: Sequence[tuple[Any, PurePath]], records: Records, settings: Settings, overwrite: bool
) -> tuple[list[Task], int]:
    """Return what is to be done, and the number of files that are refused, which are named."""
    tasks: list[Task] = []
    occupied: list[Occupied] = []
    refused = 0
    owners: dict[str, str] = {}  # of the stems of this run
    inputs = {fold(file.key) for file, _ in songs}
    for file, song in songs:
        try:
            task = plan(file, song, records.by_path, settings, overwrite)
            for path in task.stems.values() if task else ():
                if fold(os.path.abspath(settings.out / path)) in inputs:
                    raise ValueError(f"its stem {path} would replace an input; give another --name or --out")
                owner = owners.setdefault(fold(path), file.shown)
                if owner != file.shown:
                    raise ValueError(f"its stem {path} would be that of {owner}; --name names both alike")
            tasks += [task] if task else []
        except Occupied as error:
            occupied.append(error)
            refused += 1
        except ValueError as error:
            say(f"error: {file.shown}: {error}", sys.stderr)
            refused += 1
    for line in describe_occupied(occupied, settings.out):
        say(f"error: {line}", sys.stderr)
    return tasks, refused


def _separate(tasks: Sequence[Task], records: Records, settings: Settings) -> int:
    """Separate the files one after the other; return how many succeeded."""
    separator = build_separator(settings) if tasks else None
    separated = 0
    with progress_bar("separate", total=len(tasks), unit="file") as bar:
        for task in tasks:
            file = task.file
            try:
                record, notes = separate_file(task, separator, settings)
                records.append(record)
            except ImportError:  # would be the same for all files
                raise
            except Exception as error:
                reason = one_line(file.path, error, settings.device).removeprefix(f"{shown(file.path)}: ")
                say(f"error: {file.shown}: {reason}", sys.stderr)
            else:
                separated += 1
                remove_replaced(task, settings.out)
                for note in notes:
                    say(f"warning: {file.shown}: {note}", sys.stderr)
                say(_summary(task, record, settings.out))
            bar.update()
    return separated


def _settings(args: argparse.Namespace) -> Settings:
    if not args.out:
        raise UsageError("argument --out: must name a folder, got ''")
    if args.with_primitives and args.checkpoint is None:
        raise UsageError("argument --with-primitives: needs a network, named by --checkpoint")
    if args.stems == 4:
        for option in ("preset", "method"):
            if getattr(args, option) is not None:
                raise UsageError(f"argument --{option}: is of two stems, and --stems 4 was given")
    stem_preset = _stem_preset(args)
    args.preset, args.method = args.preset or "best", args.method or "pcl"
    if args.checkpoint is not None and args.method != "pcl":
        raise UsageError(f"argument --method: {args.method} is one cue, and --checkpoint names a network")
    if args.preset in PRESETS and args.method not in METHODS:
        raise UsageError(f"argument --method: must be one of {', '.join(METHODS)}, got {args.method!r}")
    if args.bitrate is not None and args.format != "mp3":
        raise UsageError(f"argument --bitrate: is of --format mp3, got {args.format}")
    digest = None if args.checkpoint is None else digest_of(args.checkpoint)
    sources = _sources(args) if stem_preset is None else _own_sources(args, stem_preset)
    stems = sources if args.only is None else (args.only,)
    check_template(args.name, len(stems) == 1, one_song=True)  # before the folders are read
    return Settings(
        out=Path(args.out),
        device=choose_device(args.device),
        preset="four" if args.stems == 4 else args.preset,
        method=args.method,
        format=args.format,
        checkpoint=args.checkpoint,
        with_primitives=args.with_primitives,
        digest=digest,
        ensemble=None if args.stems == 4 else _identity_of(args, stem_preset),
        sources=sources,
        stems=stems,
        template=args.name,
        track=args.audio_track,
        bitrate=args.bitrate or 320,
    )


def _sources(args: argparse.Namespace) -> tuple[str, ...]:
    """Return all stems that there are: those of `--stems`, or of a network, which it must not contradict."""
    sources = FOUR if args.stems == 4 else TWO
    given = f"with --stems {args.stems or 2} there are {', '.join(sources)}"
    if args.checkpoint is not None:
        wanted, sources = sources, sources_of(args.checkpoint)
        given = f"the network of --checkpoint is of {', '.join(sources)}"
        if args.stems is not None and wanted != sources:
            raise UsageError(f"argument --stems: {args.stems} is {', '.join(wanted)}, and {given}")
        if args.with_primitives and sources != TWO:
            raise UsageError(f"argument --with-primitives: the ensemble is of {', '.join(TWO)}, and {given}")
    if args.only not in (None, *sources):
        raise UsageError(f"argument --only: {given}, got {args.only!r}")
    return sources


def _stem_preset(args: argparse.Namespace) -> Any:
    """Return the `StemPreset` that --preset names in somebody's module; None where it names none."""
    if args.preset is None or ":" not in args.preset:  # without torch
        return None
    from torchprim.ensemble.find_preset import find_any_preset
    from torchprim.ensemble.four import StemPreset

    found = find_any_preset(args.preset)
    return found if isinstance(found, StemPreset) else None


def _own_sources(args: argparse.Namespace, preset: Any) -> tuple[str, ...]:
    """Return the stems of a preset of one's own, which the other options must not contradict."""
    given = f"the preset {args.preset} is of {', '.join(preset.sources)}"
    for option, default in (("stems", None), ("method", "pcl"), ("checkpoint", None)):
        if getattr(args, option) != default:
            raise UsageError(f"argument --{option}: {given}, got {getattr(args, option)}")
    if args.only not in (None, *preset.sources):
        raise UsageError(f"argument --only: {given}, got {args.only!r}")
    return preset.sources


def _identity_of(args: argparse.Namespace, stem_preset: Any) -> str | None:
    """Return the identity of an ensemble of one's own; of those that there are the name will do."""
    if args.preset in PRESETS or (args.checkpoint is not None and not args.with_primitives):
        return None
    from torchprim.separators.primitive import PrimitiveSeparator
    from torchprim.separators.stems import StemSeparator

    if stem_preset is not None:
        return StemSeparator(stem_preset).identity
    try:
        return PrimitiveSeparator(args.preset, args.method).identity
    except PresetError:
        raise
    except ValueError as error:  # of the method, or of a cue without an identity
        raise UsageError(error) from error


def _summary(task: Task, record: dict[str, Any], out: Path) -> str:
    values = ", ".join(f"{name} {record[name]:.3f}" for name in ("confidence", "silhouette", "posterior"))
    gain = (
        f", gain {record['gain']:.4f} on {'both' if len(task.stems) == 2 else 'all'} stems"
        if record["gain"] != 1
        else ""
    )
    paths = list(task.stems.values())
    one_folder = len(paths) > 1 and paths[0].parent == paths[1].parent == task.song
    where = shown(out / task.song) if one_folder else ", ".join(shown(out / path) for path in paths)
    return f"{task.file.shown}: {record['seconds']:.1f} s, {values}{gain} -> {where}"
