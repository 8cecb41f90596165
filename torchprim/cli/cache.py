"""`torchprim cache`: where decoded songs are kept, how many and how large; and their removal."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from torchprim.cli import UsageError
from torchprim.cli.output import say
from torchprim.errors import AudioError, shown

_ENTRY = re.compile(r"[0-9a-f]{32}\.npz")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = (
        "Shows where songs that `train` and `label` have decoded are kept, how many and how large; a minute "
        "of music takes 5.3 MB. They are decoded again where they are missing. An entry whose song has "
        "changed or is gone is never read again."
    )
    parser.add_argument("--cache", metavar="FOLDER", help="another folder (the user's cache folder)")
    parser.add_argument("--clear", action="store_true", help="remove the decoded songs, and nothing else")


def run(args: argparse.Namespace) -> int:
    """Print the state of the cache, or clear it; return the exit status."""
    from torchprim.bootstrap.banks.cache import default_folder
    from torchprim.files import remove_stale

    if args.cache == "":
        raise UsageError("argument --cache: must name a folder, got ''")
    folder = default_folder() if args.cache is None else Path(args.cache)
    try:
        entries = [path for path in folder.iterdir() if _ENTRY.fullmatch(path.name) and path.is_file()]
    except FileNotFoundError:
        entries = []
    except OSError as error:
        raise AudioError(folder, error.strerror or str(error)) from error
    size, failed = 0, 0
    for path in entries:
        try:
            bytes_of = path.stat().st_size
            if args.clear:
                path.unlink()
            size += bytes_of
        except FileNotFoundError:  # another process was quicker
            continue
        except OSError as error:
            failed += 1
            say(f"error: {shown(path)}: cannot be removed: {error.strerror}", sys.stderr)
    if args.clear:
        remove_stale(folder)
    what = "removed" if args.clear else "cached"
    say(f"{len(entries) - failed} decoded songs {what}, {_size(size)}: {shown(folder)}")
    return 1 if failed else 0


def _size(size: int) -> str:
    """Format a number of bytes.

    Example:
        >>> from torchprim.cli import cache
        >>> cache._size(5_300_000), cache._size(53_000_000_000)
        ('5.3 MB', '53.0 GB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
