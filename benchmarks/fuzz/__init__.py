"""Damaged files and odd arguments, tried in numbers: what ends otherwise than it may is named with its seed.

Files: one random bit of a file of each of eight formats is flipped; it is decoded, and separated by the
command. Each must give sound, sound with a note, or an `AudioError` that names the file. Arguments:
hypothesis draws odd ones for all public functions and classes; each call must give a result, or one line of
`ValueError` or `TypeError`. The exit status is 1 where anything else happens, such as a hang or a crash.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from benchmarks.fuzz import arguments, damage
from benchmarks.fuzz.targets import TARGETS
from benchmarks.fuzz.worker import Worker
from torchprim.evaluation.markdown import table
from torchprim.evaluation.provenance import versions_line

FILE_KINDS = ("sound", "sound with a note", "AudioError")
CALL_KINDS = ("result", "ValueError", "TypeError")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--flips", type=int, default=500, help="damaged files (%(default)s)")
    parser.add_argument("--calls", type=int, default=40, help="of each function (%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these functions (all)")
    parser.add_argument("--seed", type=int, default=0, help="of flips and arguments (%(default)s)")
    parser.add_argument(
        "--limit", type=float, default=60.0, help="seconds that a case may take (%(default)s)"
    )


def run(options: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory() as folder:
        files = damage.write_files(Path(folder))
        flips = damage.draw_flips(files, options.flips, options.seed)
        decoded, separated = (
            _try(call, flips, options.limit, name)
            for call, name in ((damage.decode_flipped, "decode"), (damage.separate_flipped, "separate"))
        )
        names = options.only or list(TARGETS)
        calls = [call for name in names for call in arguments.draw_calls(name, options.calls, options.seed)]
        called = _try(arguments.call, calls, options.limit, "call")
    failures = [
        f"- `--seed {options.seed}`, {case}: {kind}"
        for cases, outcomes, kinds in (
            (flips, decoded, FILE_KINDS),
            (flips, separated, FILE_KINDS),
            (calls, called, CALL_KINDS),
        )
        for case, kind in zip(cases, outcomes, strict=True)
        if kind not in kinds
    ]
    options.status = 1 if failures else 0
    rows = [
        [f"{step}, {suffix}", *_counts(outcomes, [flip.path.suffix == suffix for flip in flips], FILE_KINDS)]
        for step, outcomes in (("read", decoded), ("separate", separated))
        for suffix in dict.fromkeys(flip.path.suffix for flip in flips)
    ]
    call_rows = [
        [f"`{name}`", *_counts(called, [call.name == name for call in calls], CALL_KINDS)] for name in names
    ]
    return "\n\n".join(
        [
            f"# Fuzz: {len(flips)} flipped bits, {len(calls)} calls",
            f"Files of 1 s, synthesised, of which one bit is flipped, every second time among the first "
            f"{damage.HEADER} bytes. *Other* is what must not be: another exception, a hang beyond "
            f"{options.limit:g} s, a crash, a sample that is not finite.",
            table(["file", *FILE_KINDS, "other"], [*rows, _total(rows)]),
            "Arguments drawn by hypothesis, at least one of them odd: shapes with 0, dtypes, NaN, infinity, "
            "devices, NumPy arrays, samples before channels, numbers out of range. "
            "*Other*: another exception, several lines, a hang, a crash.",
            table(["function or class", *CALL_KINDS, "other"], [*call_rows, _total(call_rows)]),
            *(["## What must not be", "\n".join(failures)] if failures else []),
            f"Seed {options.seed}. {versions_line()}.",
        ]
    )


def _try(call, cases, limit, name) -> list[str]:
    """Try all cases in a process of their own; return how each ended."""
    with Worker(call, limit) as worker, tqdm(cases, desc=name, unit="case", leave=False, disable=None) as bar:
        return [worker.run(case) for case in bar]


def _counts(outcomes: list[str], chosen: list[bool], kinds: tuple[str, ...]) -> list[str]:
    """Count the outcomes of each kind among those chosen, and of no kind at last."""
    found = Counter(
        kind if kind in kinds else "other" for kind, own in zip(outcomes, chosen, strict=True) if own
    )
    return [str(found[kind]) for kind in (*kinds, "other")]


def _total(rows: list[list[str]]) -> list[str]:
    return ["all", *(str(sum(map(int, column))) for column in zip(*(row[1:] for row in rows), strict=True))]
