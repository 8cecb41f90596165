"""Kernels on a GPU: parity with their references, times of every stage against its floor, growth.

Needs torch, triton, numpy and tqdm alone: music is synthesised on the device. Units of work run in a process
of their own, which may die; the files are rewritten after each unit.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import itertools
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.gpu.settings import Settings, rehearsal
from benchmarks.gpu.supervisor import Record, Unit, side_by_side, supervised

if TYPE_CHECKING:
    from benchmarks.gpu.page import Page

SECTIONS = ("parity", "times", "growth", "training")
_RESULTS = Path(__file__).resolve().parents[1] / "results"
_PARITY, _UNITS, _TRAINING = (f"benchmarks.gpu.{x}" for x in ("parity", "units", "training"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    defaults = Settings()
    parser.set_defaults(out=_RESULTS)  # a folder: the file is named by the device and the date
    parser.add_argument("--batch", type=int, default=defaults.batch, help="mixtures (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=defaults.seconds, help="length of each (%(default)s)"
    )
    parser.add_argument("--preset", nargs="+", default=list(defaults.presets), help="ensembles (%(default)s)")
    parser.add_argument(
        "--sections", nargs="+", choices=SECTIONS, default=SECTIONS, help="some of them (all)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, sizes and peers")
    parser.add_argument("--compile", action="store_true", help="torch.compile of references as peers")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for one piece (%(default)s)")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so many; 0 for never")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU, nothing written")


def _settings(options: argparse.Namespace) -> Settings:
    settings = Settings(
        batch=options.batch,
        seconds=options.seconds,
        presets=tuple(options.preset),
        compiled=options.compile,
        deadline=time.time() + 60 * options.minutes if options.minutes else 0.0,
    )
    if options.quick:
        fewer = {"batches": (1, 4, 16, 64), "lengths": (), "steps": 4}
        settings = dataclasses.replace(settings, seconds_each=0.1, **fewer)
    return rehearsal(settings) if options.rehearse else settings


def comparisons(settings: Settings) -> list[Unit]:
    """List the comparisons of kernels with references; several processes may run them at once."""
    from benchmarks.gpu.stages import STAGES

    first = settings.presets[0]
    units = [
        Unit(f"{_PARITY}:compare", {"stage": stage.name, "preset": first, "batch": b, "seconds": t})
        for b, t in settings.parity
        for stage in STAGES
        if stage.operators
    ]
    for preset in settings.presets:
        arguments = {"preset": preset, "batch": settings.batch, "seconds": settings.seconds}
        units.append(Unit(f"{_PARITY}:compare_pipeline", arguments))
    return units


def timings(settings: Settings, sections: tuple[str, ...], quick: bool = False) -> list[Unit]:
    """List the timed units, one after the other, the most wanted first."""
    from benchmarks.gpu.stages import STAGES
    from benchmarks.gpu.units import peers_of
    from torchprim.ensemble.find_preset import find_preset

    first, *others = settings.presets
    size = {"batch": settings.batch, "seconds": settings.seconds}
    units = [Unit(f"{_UNITS}:measure_ceilings", {})]

    def add(function: str, role: str = "", module: str = _UNITS, **arguments) -> None:
        units.append(Unit(f"{module}:{function}", arguments, role))

    if "times" in sections:
        for preset in settings.presets:
            add("time_pipeline", "whole", preset=preset, **size)
        add("time_pipeline", "float16", preset=first, **size, mode="float16")
    if "growth" in sections:
        for preset in settings.presets:
            for batch in settings.batches:
                add("time_pipeline", "batch", preset=preset, batch=batch, seconds=settings.seconds)
    if "times" in sections:
        for preset in settings.presets:
            add("profile", preset=preset, **size)
        for stage in STAGES:
            add("time_stage", stage=stage.name, preset=first)
    if "training" in sections:
        add("time_step", module=_TRAINING, mode="kernels")
        add("time_stream", module=_TRAINING)
    if "times" in sections:
        for preset in settings.presets[: 1 if quick else None]:
            add("time_pipeline", "references", preset=preset, **size, mode="references")
        for stage in STAGES:
            if stage.operators:
                add("time_reference", stage=stage.name, preset=first)
            for peer in peers_of(stage, settings.compiled):
                add("time_peer", stage=stage.name, peer=peer, preset=first)
    if "growth" in sections:
        add("time_pipeline", "gradients", preset=first, **size, mode="gradients")
        for seconds in settings.lengths:
            add("time_pipeline", "length", preset=first, batch=settings.batch, seconds=seconds)
        names = [name for name, weight in find_preset(first).weights.items() if weight > 0]
        for count in range(1, len(names) + 1) if not quick else ():
            add("time_pipeline", "cues", preset=first, **size, cues=names[:count])
    if "training" in sections and not quick:
        add("time_step", module=_TRAINING, mode="references")
    if "times" in sections and not quick:
        for preset in others:
            for stage in STAGES:
                if stage.in_pipeline:
                    add("time_stage", stage=stage.name, preset=preset)
                    if stage.operators:
                        add("time_reference", stage=stage.name, preset=preset)
    return units


def _provenance(device: str) -> tuple[str, str]:
    """Return the device's name, and a line about it and the versions."""
    import torch

    from torchprim.evaluation.provenance import processor_line, versions_line

    today = datetime.date.today().isoformat()
    if device == "cpu":
        return "rehearsal", f"{today}. {versions_line('triton', 'numpy')}. {processor_line()}."
    properties = torch.cuda.get_device_properties(0)
    line = (
        f"{today}. {properties.name}, {properties.total_memory / 2**30:.0f} GiB, "
        f"{properties.multi_processor_count} multiprocessors, L2 {properties.L2_cache_size / 2**20:.0f} MiB, "
        f"CUDA {torch.version.cuda}. {versions_line('triton', 'numpy')}."
    )
    return properties.name, line


def _output_path(options: argparse.Namespace, name: str) -> Path | None:
    """Return the Markdown file `--out`, or one in the folder `--out`; by default none for a rehearsal."""
    if options.rehearse and options.out == _RESULTS:
        return None
    if options.out.suffix == ".md":
        return options.out
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return options.out / f"gpu-{slug}-{datetime.date.today().isoformat()}.md"


def run(options: argparse.Namespace) -> str:
    import torch
    from tqdm import tqdm

    from benchmarks.data import MissingData

    if not options.rehearse and not torch.cuda.is_available():
        raise MissingData("no CUDA device; --rehearse runs everything on the CPU at tiny sizes")
    from benchmarks.gpu.ceilings import Ceilings
    from benchmarks.gpu.page import Page
    from benchmarks.gpu.units import floors

    settings = _settings(options)
    name, where = _provenance(settings.device)
    options.out = _output_path(options, name)
    title = "# A rehearsal: the numbers mean nothing" if options.rehearse else f"# Kernels on {name}"
    page = Page(settings, f"{title}\n\n{where}")
    compared = comparisons(settings) if "parity" in options.sections else []
    timed = timings(settings, tuple(options.sections), options.quick)
    results = itertools.chain(
        side_by_side(compared, settings, options.limit, settings.workers),
        supervised(timed, settings, options.limit),
    )
    bar = tqdm(total=len(compared) + len(timed), unit="piece", file=sys.stderr, mininterval=5.0)
    for unit, record in results:
        kind = unit.function.rpartition(":")[2]
        page.add({"kind": kind, "role": unit.role, "name": unit.name, **unit.arguments, **record})
        if kind == "measure_ceilings" and not record.get("failure"):
            page.ceilings = Ceilings(**{field: record[field] for field in Ceilings._fields})
            page.floors = floors(settings, page.ceilings)
        bar.write(f"{unit.name}: {_summary(record)}", file=sys.stderr)
        bar.update()
        _write(page, options.out, settings, where)
    bar.close()
    options.status = 1 if page.failures() else 0
    return page.text()


def _summary(record: Record) -> str:
    """Format a record in a line, for those who watch, and for what is left of a run that is stopped."""
    times = [f"{key} {1e3 * record[key][1]:.3g} ms" for key in ("eager", "graph") if record.get(key)]
    numbers = [
        f"{key} {record[key]:.2g}" for key in ("error", "gradient_error") if record.get(key) is not None
    ]
    whole = [f"{name} {error:.1e}" for name, error in record.get("errors", {}).items()]
    wrong = [record[key] for key in ("failure", "skipped", "absent") if record.get(key)]
    return ", ".join([*wrong, *times, *numbers, *whole, f"took {record.get('took', 0):.1f} s"])


def _write(page: Page, path: Path | None, settings: Settings, where: str) -> None:
    """Write the results so far, as Markdown and as JSON beside it."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page.text() + "\n", encoding="utf-8")
    data = {
        "where": where,
        "settings": dataclasses.asdict(settings),
        "floors": page.floors,
        "records": page.records,
    }
    path.with_suffix(".json").write_text(json.dumps(data, indent=1, default=str) + "\n", encoding="utf-8")
