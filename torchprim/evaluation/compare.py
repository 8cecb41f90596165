"""The comparison of methods: summary, tables, and figure 4 of the paper."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchprim.evaluation.figures import labels, save_boxes
from torchprim.evaluation.markdown import interval, number, table
from torchprim.evaluation.runner import Record, Results
from torchprim.evaluation.scores import METRICS, from_json, median_of_frames
from torchprim.evaluation.songs import SOURCES
from torchprim.evaluation.statistics import bootstrap_mean

PARTS = (*SOURCES, "both")
Values = dict[str, dict[str, dict[str, float]]]  # method -> part -> song -> dB


def values_of(records: Sequence[Record], metric: str = "SD-SDR", field: str = "scores") -> Values:
    """One metric by method, part and song; `both` is the mean of a song's two sources.

    Args:
        records: from `run_methods`.
        metric: one of `METRICS`, or a measure of BSSEval with the field `frames`.
        field: `scores`, `gains` (over the mixture), or `frames` (then the median of a track's frames).
    """
    values: Values = {}
    for record in records:
        read = median_of_frames if field == "frames" else from_json
        song = {source: read(record[field][metric][source]) for source in SOURCES}
        song["both"] = sum(song.values()) / len(SOURCES)
        for part, value in song.items():
            values.setdefault(record["method"], {}).setdefault(part, {})[record["song"]] = value
    return values


def finite(values: dict[str, float]) -> list[float]:
    """What can be averaged."""
    return [value for value in values.values() if math.isfinite(value)]


def differences(values: Values, method: str, other: str, part: str = "both") -> list[float]:
    """Paired differences, method minus other, of the songs that both have a finite score of."""
    mine, theirs = values[method][part], values[other][part]
    pairs = [(mine[song], theirs[song]) for song in mine if song in theirs]
    return [a - b for a, b in pairs if math.isfinite(a) and math.isfinite(b)]


def _middle(numbers: list[float]) -> tuple[float, float]:
    return (statistics.fmean(numbers), statistics.median(numbers)) if numbers else (math.nan, math.nan)


def summarise(results: Results, against: str, seed: int) -> dict[str, Any]:
    """Everything that the tables show, by method; nan where there is nothing to average.

    Args:
        results: of `run_methods`.
        against: the method that the others are compared with, song by song.
        seed: of the bootstrap.
    """
    main = values_of(results.scores)
    every = {
        field: {metric: values_of(results.scores, metric, field) for metric in METRICS}
        for field in ("scores", "gains")
    }
    bss = {measure: values_of(results.frames, measure, "frames") for measure in ("SDR", "ISR", "SIR", "SAR")}
    summary: dict[str, Any] = {}
    for method, parts in main.items():
        row: dict[str, Any] = {
            "songs": len(finite(parts["both"])),
            "not finite": sorted(song for song, value in parts["both"].items() if not math.isfinite(value)),
            "SD-SDR": {part: _middle(finite(parts[part])) for part in PARTS},
        }
        if against in main and method != against:
            found = differences(main, method, against)
            row["difference"] = {"from": against, "songs": len(found), "mean": bootstrap_mean(found, seed)}
        for field, metrics in every.items():
            row[field] = {
                metric: {part: _middle(finite(of[method][part])) for part in SOURCES}
                for metric, of in metrics.items()
            }
        if all(method in of for of in bss.values()):
            row["BSSEval v4"] = {
                measure: {part: _middle(finite(of[method][part])) for part in SOURCES}
                for measure, of in bss.items()
            }
        summary[method] = row
    return summary


def main_table(summary: dict[str, Any], against: str) -> str:
    """SD-SDR: mean and median of each source and of both, and the paired difference."""
    head = ["method"]
    for part in PARTS:
        head += [f"{part} mean", "median"]
    rows = []
    names = labels(summary)
    for method, row in summary.items():
        cells = [f"`{names[method]}`"]
        for part in PARTS:
            cells += [number(value) for value in row["SD-SDR"][part]]
        cells.append(interval(row["difference"]["mean"], sign=True) if "difference" in row else "")
        rows.append(cells)
    return table([*head, f"both, minus `{against}` [95 %]"], rows)


def metrics_table(summary: dict[str, Any]) -> str:
    """Means over songs of every closed-form metric, vocals / accompaniment, and the gain of SD-SDR."""

    def pair(values: dict[str, tuple[float, float]], sign: bool = False) -> str:
        return " / ".join(number(values[part][0], sign) for part in SOURCES)

    head = ["method", *(name for name in METRICS if name != "SD-SDR"), "SD-SDR over the mixture"]
    names = labels(summary)
    rows = [
        [
            f"`{names[method]}`",
            *(pair(row["scores"][name]) for name in METRICS if name != "SD-SDR"),
            pair(row["gains"]["SD-SDR"], sign=True),
        ]
        for method, row in summary.items()
    ]
    return table(head, rows)


def bss_table(summary: dict[str, Any]) -> str:
    """BSSEval v4 as SiSEC gives it: medians over songs of medians over frames, vocals / accompaniment."""
    measures = ("SDR", "ISR", "SIR", "SAR")
    names = labels(summary)
    rows = [
        [
            f"`{names[method]}`",
            *(
                " / ".join(number(row["BSSEval v4"][measure][part][1]) for part in SOURCES)
                for measure in measures
            ),
        ]
        for method, row in summary.items()
        if "BSSEval v4" in row
    ]
    return table(["method", *measures], rows) if rows else ""


def save_figure4(results: Results, out: Path, name: str = "figure4") -> list[Path]:
    """Box plots of SD-SDR, one file for both sources and one for each."""
    values = values_of(results.scores)
    files = []
    for part, title in (("both", "mean of both sources"), *((source, source) for source in SOURCES)):
        rows = {method: finite(parts[part]) for method, parts in values.items() if finite(parts[part])}
        if rows:
            path = out / (f"{name}.png" if part == "both" else f"{name}-{part}.png")
            save_boxes(rows, f"SD-SDR, {title} (dB)", path)
            files.append(path)
    return files
