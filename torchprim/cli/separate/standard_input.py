"""Standard input as a file: decoders seek in one, so that what comes through a pipe is written down first."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath

from torchprim.cli import UsageError
from torchprim.cli.separate.inputs import InputFile


@contextlib.contextmanager
def standard_input(folder: Path) -> Iterator[InputFile]:
    """Copy standard input to a file that is removed at the end.

    Args:
        folder: where it is kept meanwhile; created if missing.

    Raises:
        UsageError: where it is a terminal.
        OSError: where the folder cannot be written.
    """
    if sys.stdin.isatty():
        raise UsageError("-: standard input is a terminal; pipe a file into it")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".stdin.", dir=folder) as place:
        path = Path(place, "stdin")
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield InputFile(path, PurePath(), "standard input")
