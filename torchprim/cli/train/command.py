"""`torchprim train`: a network from a folder of music, in one process or in those of torchrun."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from torchprim.cli import UsageError
from torchprim.cli.output import say
from torchprim.cli.train.loop import train
from torchprim.cli.train.options import add_arguments, complete, network_config, recipe_of
from torchprim.cli.train.settings import NAME, changed, read_settings, settings_of, write_settings
from torchprim.errors import shown
from torchprim.training.ranks import USER_ERRORS, RankError, start_ranks
from torchprim.training.run_folder import find_run, reserve

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Train, or go on; return the exit status."""
    folder = _run_folder(args)
    resume = hasattr(args, "resume")
    first = os.environ.get("RANK", "0") == "0"
    try:
        before = read_settings(folder) if resume else {}
        settings = before | settings_of(args)
        options = complete(settings)
        _check(options, folder, resume)
        if options.threads:
            torch.set_num_threads(options.threads)
        ranks = start_ranks(options.device)
        with ranks.naming_errors(), contextlib.ExitStack() as stack:
            with ranks.sharing_errors():
                config, recipe = network_config(options), recipe_of(options)
                if ranks.first:
                    stack.enter_context(reserve(folder))
            with ranks.sharing_errors():
                checkpoint = find_run(folder, config, resume)
                if ranks.first and not before:
                    write_settings(folder, settings)

            def accept() -> None:
                """Say which settings of the run are others now, and keep them: they have passed checks."""
                if ranks.first and before and settings != before:
                    if changes := changed(before, settings, with_recipe=checkpoint is None):
                        say(f"resumed with other settings: {changes}", sys.stderr)
                    write_settings(folder, settings)

            train(options, config, recipe, folder, checkpoint, ranks, stack, accept)
            if ranks.world > 1:
                dist.barrier()
                dist.destroy_process_group()
    except (RankError, *USER_ERRORS) as error:
        if first or not isinstance(error, RankError):
            say(f"error: {error}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        say(f"\ninterrupted; `torchprim train --resume {shown(folder)}` goes on", sys.stderr)
        return 130
    return 0


def _run_folder(args: argparse.Namespace) -> Path:
    """Return the folder of the run, that of `--out` or of `--resume`."""
    out, resumed = getattr(args, "out", None), getattr(args, "resume", True)
    if resumed is not True and out is not None and os.path.abspath(resumed) != os.path.abspath(out):
        raise UsageError(f"argument --resume: names the run {resumed}, and --out names {out}")
    folder = out if resumed is True else resumed
    if not folder:
        raise UsageError("the following arguments are required: -o/--out, or --resume RUN")
    return Path(folder)


def _check(options: argparse.Namespace, folder: Path, resume: bool) -> None:
    if not options.audio and not options.stems:
        where = f" ({shown(folder / NAME)} holds no settings of a run)" if resume else ""
        raise UsageError(f"nothing to train on: give --audio, --stems, or both{where}")
    if not 0 <= options.stems_share < 1:
        raise UsageError(f"argument --stems-share: must lie in [0, 1), got {options.stems_share}")
