"""`torchprim report FILE --out DIR`: one HTML page to look at and listen to."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from torchprim.cli import UsageError
from torchprim.cli.device import DEVICES, choose_device
from torchprim.cli.option_types import PRESET_NAMES, preset
from torchprim.cli.output import check_output, say, title_of, write_output
from torchprim.cli.song import add_song, add_start, read_song
from torchprim.errors import one_line, shown
from torchprim.progress import bar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_song(parser)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder for NAME.html")
    parser.add_argument(
        "--preset", type=preset, default="best", help=f"{PRESET_NAMES} of your own (default: %(default)s)"
    )
    parser.add_argument(
        "--cues",
        type=lambda text: tuple(text.split(",")),
        metavar="A,B",
        help="two primitives for the picture of the embedding (default: 2dft-r,melody)",
    )
    add_start(parser, "where the pictures' 30 s begin (default: where the vocals are loudest)")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="(default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Separate the song and write its page."""
    from torchprim.report.build import make_report
    from torchprim.report.pictures import chosen_cues
    from torchprim.separators.primitive import PrimitiveSeparator

    device = choose_device(args.device)
    separator = PrimitiveSeparator(args.preset).to(device)
    try:
        chosen_cues(list(separator.preset.weights), args.cues)
    except ValueError as error:
        raise UsageError(error) from error
    sound = read_song(args.file, args.start)
    target = args.out / f"{title_of(args.file)}.html"
    check_output(target)  # before the work, not after
    with bar(shown(args.file.name), unit="piece", leave=False) as shown_bar:

        def progress(done: int, pieces: int) -> None:
            shown_bar.total = pieces
            shown_bar.update(done - shown_bar.n)

        try:
            page = make_report(
                title_of(args.file),
                sound.audio.to(device),
                sound.sample_rate,
                separator,
                cues=args.cues,
                start=args.start,
                progress=progress,
            )
        except ImportError:  # names the package to install
            raise
        except Exception as error:
            say(f"error: {one_line(args.file, error, device)}", sys.stderr)
            return 1
    write_output(target, page)
    say(shown(target))
    return 0
