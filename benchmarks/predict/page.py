"""Markdown of a prediction: stages and operations, beside counted floors and what a GPU has measured."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.gpu.ceilings import Ceilings
from benchmarks.gpu.scene import Scene
from benchmarks.gpu.stages import find_stage
from benchmarks.gpu.units import floor_of
from benchmarks.predict import rates
from benchmarks.predict.ledger import Ledger, Row, Total, total
from torchprim.evaluation.markdown import table

RESULTS = Path(__file__).resolve().parents[1] / "results"
_KINDS = {
    "triton": "kernels of the project",
    "aten": "pointwise operations and reductions of PyTorch",
    "copy": "copies that change nothing",
    "fft": "transforms",
    "lstm": "LSTM layers",
}
# Stage of a prediction -> stage of benchmarks/gpu/stages.py, whose floor is counted and time measured.
STAGES = {
    "STFT and magnitude": "STFT and magnitude",
    "2DFT pair": "2DFT pair",
    "HPSS mask": "HPSS mask",
    "long-window HPSS": "long-window HPSS, three transforms",
    "melody: salience": "salience, whole",
    "melody: Viterbi": "Viterbi",
    "melody: voicing": "voicing",
    "assignment": "soft assignment",
    "confidence": "loudest 1 %, posterior, silhouette of 1000",
    "iSTFT and stems": "iSTFT and both stems",
}
# Rates that floors are counted with: those of an H100.
_CEILINGS = Ceilings(
    copy=rates.CHIPS["H100"], extrema=1.5e13, float32=5e13, bfloat16=rates.BFLOAT16, step=2e-7
)


class Measured:
    """Times of a run of `benchmarks gpu`.

    Args:
        path: JSON file of the run; None for none.
    """

    def __init__(self, path: Path | None) -> None:
        data = json.loads(path.read_text(encoding="utf-8")) if path else {"where": "", "records": []}
        self.where: str = data["where"]
        self.records: list[dict[str, Any]] = data["records"]

    def seconds(self, kind: str, **arguments: Any) -> float | None:
        """Return the median of a unit, as a graph where there is one; None where it was not measured."""
        for r in self.records:
            if r.get("kind") == kind and all(r.get(k) == v for k, v in arguments.items()):
                times = r.get("graph") or r.get("eager")
                if times or "batch_seconds" in r:
                    return times[1] if times else r["batch_seconds"]
        return None


def latest_run(folder: Path = RESULTS) -> Path | None:
    """Return the newest JSON file of `benchmarks gpu`: they end in a date."""
    return max(folder.glob("gpu-*.json"), key=lambda path: path.stem[-10:], default=None)


def _ms(seconds: float | None, digits: int = 2) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.{digits}f}"


def _cells(sums: Total, digits: int = 2) -> list[str]:
    times = [_ms(sums.seconds[chip], digits) for chip in rates.CHIPS]
    return [str(sums.launches), f"{sums.bytes / 1e9:.2f}", *times]


def _groups(rows: list[Row], key) -> list[tuple[Any, Total]]:
    """Add up rows with the same key, the slowest group first."""
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    sums = {name: total(members) for name, members in groups.items()}
    return sorted(sums.items(), key=lambda item: -item[1].seconds["H100"])


def whole_seconds(ledger: Ledger, chip: str, gap: float) -> float:
    """Return the time of a call, gaps between launches included; an eager one waits for the host."""
    sums = total(ledger.rows)
    seconds = sums.seconds[chip] + gap * sums.launches
    return max(seconds, ledger.host) if gap == rates.EAGER else seconds


def _summary(ledger: Ledger, audio: float) -> str:
    lines = []
    for label, gap in (("eager", rates.EAGER), ("As a CUDA graph", rates.GRAPH)):
        times = {chip: whole_seconds(ledger, chip, gap) for chip in rates.CHIPS}
        real = {chip: f", {audio / t:,.0f} times real time" if audio else "" for chip, t in times.items()}
        parts = "; ".join(f"{chip} {_ms(t)} ms{real[chip]}" for chip, t in times.items())
        lines.append(f"{label}: {parts}")
    kinds = _groups(ledger.rows, lambda row: row.kind)
    parts = ", ".join(f"{_KINDS[kind]} {_ms(sums.seconds['H100'])}" for kind, sums in kinds)
    return (
        "With gaps between launches, "
        + ". ".join(lines)
        + f". The host needs {_ms(ledger.host, 1)} ms, eager. "
        f"Tensors that live at a time: {ledger.peak / 2**30:.2f} GiB. H100, ms: {parts}."
    )


def _halved(ledger: Ledger, time: float | None) -> str:
    """Format the sums of a separation that stores its masks in float16."""
    sums = total(ledger.rows)
    graph = ", ".join(f"{chip} {_ms(whole_seconds(ledger, chip, rates.GRAPH))} ms" for chip in rates.CHIPS)
    return (
        f"With the cues' masks in float16, `mask_dtype`: {sums.bytes / 1e9:.2f} GB, "
        f"{ledger.peak / 2**30:.2f} GiB at a time, as a CUDA graph {graph}, measured {_ms(time)} ms."
    )


def _operations(ledger: Ledger, top: int) -> str:
    groups = _groups(ledger.rows, lambda row: (row.stage, row.name))
    rows = [[*name, str(sums.calls), *_cells(sums, 3)] for name, sums in groups[:top]]
    return table(["stage", "operation", "calls", "launches", "GB", "H100, ms", "H200, ms"], rows)


def separation_section(
    preset: str, batch: int, seconds: float, ledger: Ledger, half: Ledger, measured: Measured, top: int
) -> str:
    """Format a separation: stages, sums, what masks in float16 (`half`) change, the slowest operations."""
    scene = Scene(preset, batch, seconds, "cpu")  # for its sizes: nothing is computed
    rows = []
    for name, sums in _groups(ledger.rows, lambda row: row.stage):
        stage = STAGES.get(name)
        floor = floor_of(scene, _CEILINGS, find_stage(stage)) if stage else None
        time = measured.seconds("time_stage", stage=stage, preset=preset) if stage else None
        rows.append([name, *_cells(sums), _ms(floor), _ms(time)])
    time = measured.seconds("time_pipeline", role="whole", preset=preset)
    rows.append(["**all**", *_cells(total(ledger.rows)), _ms(floor_of(scene, _CEILINGS)), _ms(time)])
    head = ["stage", "launches", "GB", "H100, ms", "H200, ms", "floor, H100", "measured"]
    return (
        f"## Preset `{preset}`, {batch} x {seconds:g} s\n\n{table(head, rows)}\n\n"
        f"{_summary(ledger, batch * seconds)}\n\n"
        f"{_halved(half, measured.seconds('time_pipeline', role='float16', preset=preset))}\n\n"
        f"{_operations(ledger, top)}"
    )


def training_section(
    network: str,
    sequences: int,
    frames: int,
    step: Ledger,
    stream: tuple[Ledger, Ledger, int],
    measured: Measured,
    top: int,
) -> str:
    """Format a training step and the stream's share of it."""
    batch, refreshed, period = stream
    rows = [[name, *_cells(sums), "-"] for name, sums in _groups(step.rows, lambda row: row.stage)]
    time = measured.seconds("time_step", mode="kernels")
    rows.append(["**step**", *_cells(total(step.rows)), _ms(time)])
    time = measured.seconds("time_stream")
    rows.append(["**remix stream, a batch**", *_cells(total(batch.rows)), _ms(time)])
    once, more = total(batch.rows), total(refreshed.rows)
    share = Total(
        0,
        round((more.launches - once.launches) / period),
        (more.bytes - once.bytes) / period,
        {chip: (more.seconds[chip] - once.seconds[chip]) / period for chip in rates.CHIPS},
    )
    rows.append([f"**its refreshes**, one in {period} steps, a step", *_cells(share), "-"])
    both = Ledger()
    both.rows = step.rows + [row._replace(stage="remix stream") for row in batch.rows]
    return (
        f"## Training step, network `{network}`, {sequences} x {frames} frames, bf16\n\n"
        + table(["part", "launches", "GB", "H100, ms", "H200, ms", "measured"], rows)
        + f"\n\nThe step. {_summary(step, 0.0)}\n\nA batch of the stream. {_summary(batch, 0.0)} "
        f"A refresh takes {_ms(refreshed.host - batch.host, 1)} ms of the host.\n\n{_operations(both, top)}"
    )
