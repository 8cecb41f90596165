"""Figure 2 of the paper: does confidence predict performance? Records, correlations, tables, scatters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from torchprim.evaluation.figures import save_scatter
from torchprim.evaluation.markdown import interval, table
from torchprim.evaluation.methods import Method, stems
from torchprim.evaluation.runner import SONG_ERRORS, Record, Settings, problem_of, read_records, read_songs
from torchprim.evaluation.scores import closed_form, from_json, is_number, is_table
from torchprim.evaluation.songs import SongIndex, fingerprint
from torchprim.evaluation.statistics import Interval, correlation
from torchprim.evaluation.trust import MEASURES, measures
from torchprim.files import append_json_lines
from torchprim.sources import TWO

# target of the prediction -> (field of the record, sources)
TARGETS = {
    "vocals": ("scores", ("vocals",)),
    "accompaniment": ("scores", ("accompaniment",)),
    "both": ("scores", TWO),
    "improvement": ("gains", TWO),
}
LABELS = {
    "vocals": "SD-SDR, vocals (dB)",
    "accompaniment": "SD-SDR, accompaniment (dB)",
    "both": "SD-SDR, mean of both (dB)",
    "improvement": "SD-SDR over the mixture,\nmean of both (dB)",
}
Correlations = dict[str, dict[str, dict[str, Interval]]]  # measure -> target -> "r" or "partial"


def run_confidence(
    index: SongIndex, method: Method, settings: Settings, out: Path
) -> tuple[list[Record], dict[str, str]]:
    """Measure the confidence and the scores of every song; results that `out` holds are not computed again.

    Args:
        index: from `find_songs`.
        method: with a separator.
        settings: of the run.
        out: folder of `confidence.jsonl`.

    Returns:
        Records of the songs in their order, and the reasons for those that could not be used.
    """
    path = out / "confidence.jsonl"
    done = read_records(path, _has_numbers)
    data = {name: fingerprint(song) for name, song in index.songs.items()}
    keys = {name: settings.key(name, data[name], method) for name in index.songs}

    def needed(name: str) -> bool:
        return keys[name] not in done

    problems = dict(index.problems)
    for song, name, problem in read_songs(index, settings, needed, "confidence"):
        if song is None:
            problems[name] = problem
            continue
        try:
            separation = method.separate(song, keep_masks=True)
            confidence = measures(method.separator, separation, song.mixture, song.sample_rate)
        except SONG_ERRORS as error:
            problems[name] = problem_of(Path(name), error, settings)
            continue
        estimates = stems(separation, not settings.stereo)
        song = song if settings.stereo else song.to_mono()
        scores, gains = closed_form(song.sources, estimates)
        record = {
            "song": name,
            "data": data[name],
            "method": method.name,
            "identity": method.identity,
            "channels": settings.channels,
            "seconds": round(song.seconds, 3),
            "level ratio": song.level_ratio,
            "measures": confidence,
            "scores": scores,
            "gains": gains,
        }
        append_json_lines(path, [record])
    latest = read_records(path, _has_numbers)
    return [latest[key] for key in keys.values() if key in latest], problems


def _has_numbers(record: Record) -> bool:
    """Return whether a record holds all that is correlated."""
    measured = record.get("measures")
    return (
        isinstance(measured, dict)
        and {"confidence", "posterior", "silhouette"} <= set(measured)
        and all(map(is_number, [record.get("level ratio"), *measured.values()]))
        and all(is_table(record.get(field), ["SD-SDR"]) for field in ("scores", "gains"))
    )


def finite_targets(records: Sequence[Record]) -> tuple[list[Record], dict[str, list[float]]]:
    """Select the songs whose scores are all finite.

    Returns:
        their records, and target -> one score a song.
    """

    def value(record: Record, target: str) -> float:
        field, sources = TARGETS[target]
        return sum(from_json(record[field]["SD-SDR"][source]) for source in sources) / len(sources)

    selected = [r for r in records if all(math.isfinite(value(r, target)) for target in TARGETS)]
    return selected, {target: [value(record, target) for record in selected] for target in TARGETS}


def correlations(records: Sequence[Record]) -> Correlations:
    """Correlate measures with scores: r, and the partial r given the level ratio, with 95 % intervals.

    The level ratio stands among the measures: its r comes from levels alone.
    """
    selected, targets = finite_targets(records)
    ratio = [record["level ratio"] for record in selected]
    result: Correlations = {}
    for name in (name for name in MEASURES if selected and name in selected[0]["measures"]):
        x = [record["measures"][name] for record in selected]
        result[name] = {
            target: {"r": correlation(x, y), "partial": correlation(x, y, ratio)}
            for target, y in targets.items()
        }
    result["level ratio"] = {
        target: {"r": correlation(ratio, y), "partial": correlation([], [])} for target, y in targets.items()
    }
    return result


def correlation_tables(correlations: Correlations) -> tuple[str, str]:
    """Format the table of r, and the table of the partial r given the level ratio."""
    head = ["measure", *TARGETS]

    def cells(name: str, statistic: str) -> list[str]:
        return [name, *(interval(correlations[name][target][statistic]) for target in TARGETS)]

    plain = [cells(name, "r") for name in correlations]
    partial = [cells(name, "partial") for name in correlations if name != "level ratio"]
    return table(head, plain), table(head, partial)


def save_figure2(
    records: Sequence[Record], correlations: Correlations, out: Path, formats: Sequence[str] = ("png",)
) -> list[Path]:
    """Draw a scatter plot of the paper's measure and each target; return the files."""
    selected, targets = finite_targets(records)
    x = [record["measures"]["confidence"] for record in selected]
    files = []
    for target, y in targets.items():
        if not y:
            continue
        row, path = correlations["confidence"][target], out / f"figure2-{target}"
        files += save_scatter(x, y, row["r"], row["partial"], LABELS[target], path, formats=formats)
    return files
