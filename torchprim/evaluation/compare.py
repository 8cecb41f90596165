"""The comparison of methods: summary, tables, and figure 4 of the paper."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchprim.evaluation.figures import method_labels, save_boxes
from torchprim.evaluation.markdown import interval, number, table
from torchprim.evaluation.methods import has_null
from torchprim.evaluation.runner import Record, Results
from torchprim.evaluation.scores import METRICS, from_json, mean_name, median_of_frames
from torchprim.evaluation.statistics import bootstrap_mean
from torchprim.metrics.baselines import FOUR_NULLS
from torchprim.sources import TWO

BSS_MEASURES = ("SDR", "ISR", "SIR", "SAR")
Values = dict[str, dict[str, dict[str, float]]]  # method -> part -> song -> dB


def values_of(
    records: Sequence[Record],
    metric: str = "SD-SDR",
    field: str = "scores",
    sources: Sequence[str] = TWO,
) -> Values:
    """Collect one metric by method, part and song; the parts are the sources and, last, their mean.

    Args:
        records: from `run_methods`.
        metric: one of `METRICS`, or of `BSS_MEASURES` with the field `frames`.
        field: `scores`, `gains` (over the mixture), or `frames` (then the median over a track's frames).
        sources: of the records.
    """
    values: Values = {}
    for record in records:
        read = median_of_frames if field == "frames" else from_json
        song = {source: read(record[field][metric][source]) for source in sources}
        song[mean_name(sources)] = sum(song.values()) / len(sources)
        for part, value in song.items():
            values.setdefault(record["method"], {}).setdefault(part, {})[record["song"]] = value
    return values


def finite(values: dict[str, float]) -> list[float]:
    """Return the finite values, which alone are averaged."""
    return [value for value in values.values() if math.isfinite(value)]


def differences(values: Values, method: str, other: str, part: str) -> list[float]:
    """Return the paired differences, method minus other, of the songs where both are finite."""
    minuend, subtrahend = values[method][part], values[other][part]
    pairs = [(minuend[song], subtrahend[song]) for song in minuend if song in subtrahend]
    return [a - b for a, b in pairs if math.isfinite(a) and math.isfinite(b)]


def _mean_and_median(values: dict[str, float]) -> tuple[float, float]:
    numbers = finite(values)
    return (statistics.fmean(numbers), statistics.median(numbers)) if numbers else (math.nan, math.nan)


def summarise(results: Results, against: str, seed: int) -> dict[str, Any]:
    """Summarise all that the tables show, by method; nan where there is nothing to average.

    Args:
        results: from `run_methods`.
        against: method that the others are compared with, song by song.
        seed: of the bootstrap.
    """
    sources, mean = results.sources, mean_name(results.sources)
    sd_sdr = values_of(results.scores, sources=sources)
    metrics_by_field = {
        field: {metric: values_of(results.scores, metric, field, sources) for metric in METRICS}
        for field in ("scores", "gains")
    }
    bss = {measure: values_of(results.frames, measure, "frames", sources) for measure in BSS_MEASURES}

    def by_source(metrics: dict[str, Values], method: str) -> dict[str, dict[str, tuple[float, float]]]:
        return {
            metric: {source: _mean_and_median(values[method][source]) for source in sources}
            for metric, values in metrics.items()
        }

    summary: dict[str, Any] = {}
    for method, parts in sd_sdr.items():
        row: dict[str, Any] = {
            "songs": len(finite(parts[mean])),
            "not finite": sorted(song for song, value in parts[mean].items() if not math.isfinite(value)),
            "SD-SDR": {part: _mean_and_median(values) for part, values in parts.items()},
        }
        if against in sd_sdr and method != against:
            paired = differences(sd_sdr, method, against, mean)
            row["difference"] = {"from": against, "songs": len(paired), "mean": bootstrap_mean(paired, seed)}
        row |= {field: by_source(metrics, method) for field, metrics in metrics_by_field.items()}
        if all(method in values for values in bss.values()):
            row["BSSEval v4"] = by_source(bss, method)
        summary[method] = row
    return summary


def explanation(sources: tuple[str, ...]) -> str:
    """Describe the mean and the baselines of a comparison.

    Example:
        >>> from torchprim.evaluation.compare import explanation
        >>> explanation(("strings", "rest", "noise"))
        "`mean` is that of a song's 3 sources. irm: ideal ratio masks of magnitudes, from the true stems."
    """
    if sources == TWO:
        return (
            "`both` is the mean of a song's two sources. null: 0.7 x the mixture above 250 Hz, called "
            "vocals. irm: ideal ratio mask of magnitudes, from the true stems."
        )
    bands = "; ".join(f"{name} {FOUR_NULLS[name]}" for name in sources) if has_null(sources) else ""
    null = f"null: for each source one band of the mixture ({bands}). " if bands else ""
    return (
        f"`{mean_name(sources)}` is that of a song's {len(sources)} sources. {null}irm: ideal ratio masks of "
        "magnitudes, from the true stems."
    )


def main_table(summary: dict[str, Any], against: str) -> str:
    """Format SD-SDR: mean and median of each source and of their mean, and the paired difference."""
    head, parts = ["method"], list(next(iter(summary.values()))["SD-SDR"])
    for part in parts:
        head += ["mean" if part == "mean" else f"{part} mean", "median"]
    rows = []
    labels = method_labels(summary)
    for method, row in summary.items():
        cells = [f"`{labels[method]}`"]
        for part in parts:
            cells += [number(value) for value in row["SD-SDR"][part]]
        cells.append(interval(row["difference"]["mean"], sign=True) if "difference" in row else "")
        rows.append(cells)
    return table([*head, f"{parts[-1]}, minus `{against}` [95 %]"], rows)


def metrics_table(summary: dict[str, Any]) -> str:
    """Format means over songs of every closed-form metric, source / source, and the gain of SD-SDR."""

    def pair(values: dict[str, tuple[float, float]], sign: bool = False) -> str:
        return " / ".join(number(mean, sign) for mean, _ in values.values())

    metrics = [name for name in METRICS if name != "SD-SDR"]
    labels = method_labels(summary)
    rows = [
        [
            f"`{labels[method]}`",
            *(pair(row["scores"][name]) for name in metrics),
            pair(row["gains"]["SD-SDR"], sign=True),
        ]
        for method, row in summary.items()
    ]
    return table(["method", *metrics, "SD-SDR over the mixture"], rows)


def bss_table(summary: dict[str, Any]) -> str:
    """Format BSSEval v4 as SiSEC does: medians over songs of medians over frames, source / source."""

    def pair(values: dict[str, tuple[float, float]]) -> str:
        return " / ".join(number(median) for _, median in values.values())

    labels = method_labels(summary)
    rows = [
        [f"`{labels[method]}`", *(pair(row["BSSEval v4"][measure]) for measure in BSS_MEASURES)]
        for method, row in summary.items()
        if "BSSEval v4" in row
    ]
    return table(["method", *BSS_MEASURES], rows) if rows else ""


def save_figure4(
    results: Results, out: Path, name: str = "figure4", formats: Sequence[str] = ("png",)
) -> list[Path]:
    """Draw box plots of SD-SDR, one for the mean of all sources and one for each; return the files."""
    sources, mean = results.sources, mean_name(results.sources)
    values = values_of(results.scores, sources=sources)
    files = []
    title_of_mean = f"mean of {'both' if len(sources) == 2 else 'all'} sources"
    for part, title in ((mean, title_of_mean), *((source, source) for source in sources)):
        rows = {method: finite(parts[part]) for method, parts in values.items() if finite(parts[part])}
        if rows:
            path = out / (name if part == mean else f"{name}-{part}")
            files += save_boxes(rows, f"SD-SDR, {title} (dB)", path, formats)
    return files
