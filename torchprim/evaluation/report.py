"""What a run writes: a page in Markdown with settings and versions, all numbers as JSON, songs as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchprim.evaluation.compare import BSS_MEASURES
from torchprim.evaluation.provenance import device_name, package_versions
from torchprim.evaluation.runner import Record, Results, Settings
from torchprim.evaluation.scores import METRICS, from_json, mean_name, median_of_frames
from torchprim.files import replaced
from torchprim.sources import TWO

Row = dict[str, str | float]


@dataclass(frozen=True)
class Run:
    """Settings of a command that its results depend on.

    Args:
        command: name of the command.
        stems: folders of songs with true stems.
        preset: of the primitives; of two sources.
        seed: of the bootstrap and of the trainings.
        settings: channels, sources and device.
    """

    command: str
    stems: Sequence[str]
    preset: str
    seed: int
    settings: Settings

    def facts(self, songs: Mapping[str, float], problems: Mapping[str, str]) -> dict[str, Any]:
        """Collect the settings, versions and data of the results, for the JSON file and the page's footer.

        Args:
            songs: duration of each song that was used, in seconds.
            problems: reason for each song that was left out.
        """
        two = self.settings.sources == TWO
        return {
            "command": self.command,
            "versions": package_versions("numpy", "torchaudio", "museval"),
            "device": device_name(self.settings.device),
            **({"preset": self.preset} if two else {"sources": list(self.settings.sources)}),
            "seed": self.seed,
            "channels": self.settings.channels,
            "data": {
                "stems": ["/".join(Path(root).resolve().parts[-2:]) for root in self.stems],
                "songs": len(songs),
                "seconds": round(sum(songs.values()), 1),
                "left out": dict(problems),
            },
        }


def footer(facts: Mapping[str, Any]) -> str:
    """Format the facts of `Run.facts` as two sentences and a list of the songs that were left out."""
    data = facts["data"]
    if "sources" in facts:
        what = f"Sources: {', '.join(facts['sources'])}"
    else:
        what = f"Preset of the primitives: `{facts['preset']}`"
    text = (
        f"Data: {', '.join(data['stems'])}, {data['songs']} songs, {data['seconds'] / 60:.1f} minutes, "
        f"{facts['channels']}; mixture = sum of the stems. {what}; "
        f"seed {facts['seed']}; {', '.join(f'{name} {v}' for name, v in facts['versions'].items())}; "
        f"{facts['device']}."
    )
    if data["left out"]:
        text += f"\n\nLeft out, {len(data['left out'])}:\n\n" + "\n".join(
            f"- {name}: {reason}" for name, reason in data["left out"].items()
        )
    return text


def figure_links(files: Sequence[Path], legend: str) -> str:
    """Format the links to a page's figures, and their legend; of each one file that a browser shows."""
    figures: dict[str, list[str]] = {}
    for path in files:
        figures.setdefault(path.stem, []).append(path.suffix)
    lines = []
    for stem, suffixes in figures.items():
        suffix = next(suffix for suffix in (".png", ".svg", ".pdf") if suffix in suffixes)
        lines.append(f"{'' if suffix == '.pdf' else '!'}[{stem}]({stem}{suffix})")
    return "\n".join(lines) + f"\n\n{legend}"


def write_page(
    out: Path, name: str, facts: Mapping[str, Any], summary: Mapping[str, Any], sections: Sequence[str]
) -> None:
    """Write `NAME.json` with the facts and all numbers, and `NAME.md`, the page."""
    # JSON has neither NaN nor infinities: both are null.
    text = json.dumps(_finite({**facts, "summary": summary}), indent=1, allow_nan=False)
    for suffix, content in ((".json", text + "\n"), (".md", "\n\n".join(sections) + "\n")):
        with replaced(out / f"{name}{suffix}") as file:
            file.write(content.encode("utf-8"))


def _finite(value: Any) -> Any:
    """Replace the numbers that are not finite by None, at any depth."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _column(name: str) -> str:
    """Name a column as programs take names: `SD-SDR` as `sd_sdr`."""
    return name.lower().replace(" %", "_percent").replace("-", "_").replace(" ", "_")


def _scores(record: Record, sources: Sequence[str] = TWO) -> Row:
    """Collect a record's scores, and its SD-SDR over that of the mixture, by column."""
    row: Row = {}
    mean = mean_name(sources)
    for metric in METRICS:
        if metric in record["scores"]:
            values = {source: from_json(record["scores"][metric][source]) for source in sources}
            row |= {f"{_column(metric)}_{source}": value for source, value in values.items()}
            row[f"{_column(metric)}_{mean}"] = sum(values.values()) / len(sources)
    gains = {f"sd_sdr_gain_{source}": from_json(record["gains"]["SD-SDR"][source]) for source in sources}
    return row | gains | {f"sd_sdr_gain_{mean}": sum(gains.values()) / len(sources)}


def _head(record: Record) -> Row:
    return {name: record[name] for name in ("song", "method", "channels", "seconds")}


def comparison_rows(results: Results) -> list[Row]:
    """Return a row for each song and method: every metric in dB of each source and of their mean.

    `sd_sdr_gain` is SD-SDR over that of the mixture; `bss_` are BSSEval v4, medians over frames.

    Args:
        results: from `run_methods`.
    """
    frames = {(record["song"], record["method"]): record["frames"] for record in results.frames}
    rows = []
    for record in results.scores:
        row = _head(record) | _scores(record, results.sources)
        measured = frames.get((record["song"], record["method"]), {})
        row |= {
            f"bss_{_column(measure)}_{source}": median_of_frames(measured[measure][source])
            for measure in BSS_MEASURES
            if measure in measured
            for source in results.sources
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
        >>> from torchprim.evaluation.report import format_csv
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
