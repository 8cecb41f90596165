"""The numbers of every song as CSV, for spreadsheets and statistics programs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torchprim.evaluation.compare import BSS_MEASURES
from torchprim.evaluation.runner import Record, Results
from torchprim.evaluation.scores import METRICS, from_json, median_of_frames
from torchprim.evaluation.songs import SOURCES
from torchprim.files import replaced

Row = dict[str, str | float]


def _column(name: str) -> str:
    """Name a column as programs take names: `SD-SDR` as `sd_sdr`."""
    return name.lower().replace(" %", "_percent").replace("-", "_").replace(" ", "_")


def _scores(record: Record) -> Row:
    """Collect a record's scores, and its SD-SDR over that of the mixture, by column."""
    row: Row = {}
    for metric in METRICS:
        if metric in record["scores"]:
            values = {source: from_json(record["scores"][metric][source]) for source in SOURCES}
            row |= {f"{_column(metric)}_{source}": value for source, value in values.items()}
            row[f"{_column(metric)}_both"] = sum(values.values()) / len(SOURCES)
    gains = {f"sd_sdr_gain_{source}": from_json(record["gains"]["SD-SDR"][source]) for source in SOURCES}
    return row | gains | {"sd_sdr_gain_both": sum(gains.values()) / len(SOURCES)}


def _head(record: Record) -> Row:
    return {name: record[name] for name in ("song", "method", "channels", "seconds")}


def comparison_rows(results: Results) -> list[Row]:
    """Return a row for each song and method: every metric in dB of each source and of both.

    `sd_sdr_gain` is SD-SDR over that of the mixture; `bss_` are BSSEval v4, medians over frames.

    Args:
        results: from `run_methods`.
    """
    frames = {(record["song"], record["method"]): record["frames"] for record in results.frames}
    rows = []
    for record in results.scores:
        row = _head(record) | _scores(record)
        measured = frames.get((record["song"], record["method"]), {})
        row |= {
            f"bss_{_column(measure)}_{source}": median_of_frames(measured[measure][source])
            for measure in BSS_MEASURES
            if measure in measured
            for source in SOURCES
        }
        rows.append(row)
    return rows


def confidence_rows(records: Sequence[Record]) -> list[Row]:
    """Return a row for each song: its level ratio in dB, all measures of confidence, and every metric.

    Args:
        records: from `run_confidence`.
    """
    return [
        _head(record)
        | {"level_ratio": record["level ratio"]}
        | {_column(name): value for name, value in record["measures"].items()}
        | _scores(record)
        for record in records
    ]


def format_csv(rows: Iterable[Mapping[str, str | float]]) -> str:
    """Format rows as CSV, with a column for each name; nan and what a row lacks are empty.

    Example:
        >>> from torchprim.evaluation.song_table import format_csv
        >>> print(format_csv([{"song": "a, b", "dB": 1.23456}, {"song": "c", "dB": float("nan")}]), end="")
        song,dB
        "a, b",1.2346
        c,
    """
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return "" if math.isnan(value) else f"{value:.4f}".rstrip("0").rstrip(".")


def write_csv(path: Path, rows: Iterable[Mapping[str, str | float]]) -> None:
    """Write rows as CSV in UTF-8."""
    with replaced(path) as file:
        file.write(format_csv(rows).encode("utf-8", "backslashreplace"))
