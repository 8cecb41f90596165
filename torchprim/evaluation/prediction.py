"""Figure 2 of the paper: does confidence predict performance? Records, correlations, tables, scatters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from torchprim.errors import one_line
from torchprim.evaluation.figures import save_scatter
from torchprim.evaluation.markdown import interval, table
from torchprim.evaluation.methods import Method
from torchprim.evaluation.runner import Record, Settings, each_song, record_key
from torchprim.evaluation.scores import closed_form, from_json
from torchprim.evaluation.songs import SOURCES, SongIndex, fingerprint
from torchprim.evaluation.statistics import correlation
from torchprim.evaluation.trust import MEASURES, measures
from torchprim.files import append_json_lines, read_json_lines

# what is predicted -> (field of the record, sources)
TARGETS = {
    "vocals": ("scores", ("vocals",)),
    "accompaniment": ("scores", ("accompaniment",)),
    "both": ("scores", SOURCES),
    "improvement": ("gains", SOURCES),
}
LABELS = {
    "vocals": "SD-SDR, vocals (dB)",
    "accompaniment": "SD-SDR, accompaniment (dB)",
    "both": "SD-SDR, mean of both (dB)",
    "improvement": "SD-SDR over the mixture,\nmean of both (dB)",
}


def run_confidence(
    found: SongIndex, method: Method, settings: Settings, out: Path
) -> tuple[list[Record], dict]:
    """Measures and scores of every song, kept in `confidence.jsonl`; and why others have none."""
    path = out / "confidence.jsonl"
    done = {record_key(record) for record in read_json_lines(path)}
    data = {name: fingerprint(song) for name, song in found.songs.items()}
    keys = {name: (name, data[name], method.identity, settings.channels, None) for name in found.songs}

    def wanted(name: str) -> bool:
        return keys[name] not in done

    problems = dict(found.problems)
    for song, name, problem in each_song(found, settings, wanted, "confidence"):
        if song is None:
            problems[name] = problem
            continue
        try:
            with torch.no_grad():
                separation = method.separator(song.mixture, song.sample_rate, channels=True, keep_masks=True)
                trust = measures(method.separator, separation, song.mixture, song.sample_rate)
        except (MemoryError, torch.OutOfMemoryError) as error:
            problems[name] = one_line(Path(name), error, settings.device).partition(": ")[2]
            continue
        estimates = torch.stack([separation.vocals, separation.accompaniment])
        scores, gains = closed_form(song.sources, estimates)
        record = {
            "song": name,
            "data": data[name],
            "method": method.name,
            "identity": method.identity,
            "channels": settings.channels,
            "seconds": round(song.seconds, 3),
            "level ratio": song.level_ratio,
            "measures": trust,
            "scores": scores,
            "gains": gains,
        }
        append_json_lines(path, [record])
    latest = {record_key(record): record for record in read_json_lines(path)}
    return [latest[key] for key in keys.values() if key in latest], problems


def columns(records: Sequence[Record]) -> tuple[list[Record], dict[str, list[float]]]:
    """Songs with finite scores, and the numbers that are predicted, by target."""

    def value(record: Record, target: str) -> float:
        field, sources = TARGETS[target]
        return sum(from_json(record[field]["SD-SDR"][source]) for source in sources) / len(sources)

    known = [r for r in records if all(math.isfinite(value(r, target)) for target in TARGETS)]
    return known, {target: [value(record, target) for record in known] for target in TARGETS}


def correlations(records: Sequence[Record]) -> dict[str, dict[str, dict[str, Any]]]:
    """measure -> target -> r and the partial r given the level ratio, each with its 95 % interval.

    The level ratio itself stands beside the measures: how much r comes from levels alone.
    """
    known, targets = columns(records)
    ratio = [record["level ratio"] for record in known]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name in (name for name in MEASURES if known and name in known[0]["measures"]):
        x = [record["measures"][name] for record in known]
        found[name] = {
            target: {"r": correlation(x, y), "partial": correlation(x, y, ratio)}
            for target, y in targets.items()
        }
    found["level ratio"] = {
        target: {"r": correlation(ratio, y), "partial": correlation([], [])} for target, y in targets.items()
    }
    return found


def correlation_tables(found: dict[str, dict[str, dict[str, Any]]]) -> tuple[str, str]:
    """The table of r with intervals, and the table of partial r given the level ratio."""
    head = ["measure", *TARGETS]
    plain = [[name, *(interval(row[target]["r"]) for target in TARGETS)] for name, row in found.items()]
    partial = [
        [name, *(interval(row[target]["partial"]) for target in TARGETS)]
        for name, row in found.items()
        if name != "level ratio"
    ]
    return table(head, plain), table(head, partial)


def save_figure2(records: Sequence[Record], found: dict, out: Path) -> list[Path]:
    """A scatter for each target, with the paper's measure."""
    known, targets = columns(records)
    x = [record["measures"]["confidence"] for record in known]
    files = []
    for target, y in targets.items():
        if not y:
            continue
        path = out / f"figure2-{target}.png"
        row = found["confidence"][target]
        save_scatter(x, y, row["r"], row["partial"], LABELS[target], path)
        files.append(path)
    return files
