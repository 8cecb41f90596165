"""Arguments of the commands that take one song, and its reading."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from torchprim.cli import UsageError
from torchprim.cli.option_types import number
from torchprim.cli.output import say
from torchprim.errors import shown

if TYPE_CHECKING:
    from torchprim.audio.load import Sound


def add_song(parser: argparse.ArgumentParser) -> None:
    """Add the input file."""
    parser.add_argument("file", type=Path, help="an audio file in any format")


def add_start(parser: argparse.ArgumentParser, text: str) -> None:
    """Add `--start`, the time at which an excerpt begins."""
    parser.add_argument("--start", type=number, metavar="SECONDS", help=text)


def read_song(path: Path, start: float | None) -> Sound:
    """Read the file, check `--start` against its duration, and print notes on it as warnings.

    Raises:
        AudioError: as `read`.
        UsageError: for a start outside the song.
    """
    from torchprim.audio.load import read

    sound = read(path)
    seconds = sound.audio.shape[-1] / sound.sample_rate
    if start is not None and not 0 <= start < seconds:
        raise UsageError(f"--start must lie in [0, {seconds:.2f}) s, got {start:g}")
    for note in sound.notes:
        say(f"warning: {shown(path)}: {note}", sys.stderr)
    return sound
