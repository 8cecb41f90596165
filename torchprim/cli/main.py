"""`torchprim COMMAND ...`: imports the one command that is run, so that help comes at once."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from torchprim.cli import UsageError
from torchprim.cli.output import discard, open_closed_streams, say
from torchprim.errors import FileError, is_out_of_memory
from torchprim.version import __version__

# name -> module and one line of help
COMMANDS = {
    "separate": ("torchprim.cli.separate.command", "vocals and accompaniment of files or whole folders"),
    "label": ("torchprim.cli.label", "how far a separation of every segment of a folder can be trusted"),
    "report": ("torchprim.cli.report", "one page to look at and listen to how a song was separated"),
    "pitch": ("torchprim.cli.pitch", "the pitch of the singing voice, as a table and as a picture"),
    "demo": ("torchprim.cli.demo", "separate a song whose stems are known, and score every method"),
    "cache": (
        "torchprim.cli.cache",
        "where the decoded songs of trainings are, and how large; clear them",
    ),
    "train": ("torchprim.cli.train.command", "train a network from a folder of music, with no true stems"),
    "evaluate": ("torchprim.cli.evaluate", "compare methods on songs with stems: the paper's figures"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; by default those of the process.

    Returns:
        0, 1 where something failed, 2 for wrong usage, 130 where the user interrupted.
    """
    open_closed_streams()
    status = _run(list(sys.argv[1:] if argv is None else argv))
    try:
        sys.stdout.flush()  # at exit, an error would be a traceback
    except OSError as error:
        discard(sys.stdout)
        if not isinstance(error, BrokenPipeError):  # the reader of our output (`| head`) has left
            say(f"error: standard output: cannot be written: {error.strerror}", sys.stderr)
        return status or 1
    return status


def _run(argv: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # file names may hold undecodable bytes
    parser = argparse.ArgumentParser(
        prog="torchprim",
        description="Separates vocals from accompaniment, learnt with no isolated recordings.",
        epilog="`torchprim COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"torchprim {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    parsers = {
        name: commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        for name, (_, text) in COMMANDS.items()
    }
    # Read when torch is loaded. Where another program shares the cores, OpenMP threads that spin at a barrier
    # steal the core from the thread that they wait for: the melody then takes 40 times as long, as measured.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        chosen = next((word for word in argv if not word.startswith("-")), None)
        if chosen in COMMANDS:
            module = importlib.import_module(COMMANDS[chosen][0])
            own = parsers[chosen]
            module.add_arguments(own)
            own.set_defaults(own_parser=own, passes_on=False)  # `evaluate` has parsers below its own
        args, unknown = parser.parse_known_args(argv)
        own, passes_on = (vars(args).pop(name) for name in ("own_parser", "passes_on"))
        if unknown and not passes_on:
            own.error(f"unrecognized arguments: {' '.join(unknown)}")
        args.unknown = unknown
        return module.run(args)
    except SystemExit as stop:  # argparse: 0 after help, 2 after wrong usage
        return stop.code if isinstance(stop.code, int) else 2
    except UsageError as error:
        own.print_usage(sys.stderr)
        say(f"{own.prog}: error: {error}", sys.stderr)
        return 2
    except (FileError, ImportError) as error:
        say(f"error: {error}", sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        say("error: not enough memory", sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\ninterrupted" if sys.stderr.isatty() else "interrupted", sys.stderr)  # after the ^C
        return 130
    except BrokenPipeError:  # told by `main`, which writes what is left of the output
        return 1


if __name__ == "__main__":
    sys.exit(main())
