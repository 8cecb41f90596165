"""The Markdown page of a run, from the records so far."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from benchmarks.gpu.ceilings import Ceilings, Phase
from benchmarks.gpu.settings import Settings
from torchprim.evaluation.markdown import table

Record = dict[str, Any]
NONE = "-"
_LONGEST = 30  # kernels of a profile


def _ms(seconds: float | None) -> str:
    return NONE if seconds is None else f"{1e3 * seconds:.3g}"


def _quantiles(times: Any) -> str:
    """Format `p50 (p20-p80)` in ms."""
    return NONE if times is None else f"{_ms(times[1])} ({_ms(times[0])}-{_ms(times[2])})"


def _best(record: Record) -> float:
    """Return the median seconds as a graph, or eagerly where there is none."""
    return (record["graph"] or record["eager"])[1]


def _size(record: Record) -> str:
    return f"{record['batch']} x {record['seconds']:g} s"


def _why(record: Record) -> str:
    """Return why a record has no numbers, or only some."""
    return record.get("failure") or (f"not run: {record['skipped']}" if record.get("skipped") else "")


def _short(text: str) -> str:
    return " ".join(text.split())[:120].replace("|", "/")


class Page:
    """Records of a run, and the sections of its page.

    Args:
        settings: of the run.
        head: title and provenance.
    """

    def __init__(self, settings: Settings, head: str) -> None:
        self.settings, self.head = settings, head
        self.records: list[Record] = []
        self.ceilings: Ceilings | None = None
        self.floors: dict[str, dict[str, float]] = {}

    def add(self, record: Record) -> None:
        self.records.append(record)

    def select(self, function: str, **arguments: Any) -> list[Record]:
        """Select the records of one function of the units with these arguments."""
        return [
            r
            for r in self.records
            if r["kind"] == function and all(r.get(k) == v for k, v in arguments.items())
        ]

    def failures(self) -> list[Record]:
        return [r for r in self.records if r.get("failure")]

    def text(self) -> str:
        """Format all sections that have records."""
        sections = [self.head, self._ceilings(), self._parity()]
        sections += [self._stages(preset) for preset in self.settings.presets]
        sections += [self._profiles(), self._growth(), self._training(), self._failures(), self._real_time()]
        return "\n\n".join(section for section in sections if section)

    def _ceilings(self) -> str:
        if self.ceilings is None:
            return ""
        c = self.ceilings
        return (
            "## What the device does at most\n\n"
            f"Measured in this run: copying {c.copy / 1e12:.2f} TB/s (read plus written); "
            f"{c.extrema / 1e12:.1f} T minima or maxima/s; float32 products {c.float32 / 1e12:.1f} TFLOP/s, "
            f"bf16 {c.bfloat16 / 1e12:.0f} TFLOP/s; a step that waits for the maximum over a block "
            f"{1e6 * c.step:.2f} µs. A floor is the dearest of bytes, operations and serial steps of each "
            "phase of a stage, counted in benchmarks/gpu/floors.py, the phases added up."
        )

    def _parity(self) -> str:
        rows = []
        for r in self.select("compare"):
            if "error" not in r:
                rows.append([r["stage"], _size(r), *[NONE] * 5, _short(_why(r))])
                continue
            gradient = NONE if r["gradient_error"] is None else f"{r['gradient_error']:.1e}"
            limit = NONE if r["gradient_error"] is None else f"{r['gradient_tolerance']:.0e}"
            cells = [f"{r['error']:.1e}", f"{r['tolerance']:.0e}", gradient, limit, str(r["launches"])]
            rows.append([r["stage"], _size(r), *cells, r["failure"] or "equal"])
        if not rows:
            return ""
        head = ["stage", "input", "error", "allowed", "gradient's", "allowed", "launches", "verdict"]
        lines = []
        for r in self.select("compare_pipeline"):
            errors = ", ".join(f"{name} {error:.1e}" for name, error in r.get("errors", {}).items())
            lines.append(f"- `{r['preset']}`, {_size(r)}: {errors} {_why(r)}".rstrip())
        return (
            f"## Kernels against references, on the device\n\nPreset `{self.settings.presets[0]}`: "
            "‖kernel - reference‖ / ‖reference‖, of whole numbers the share that differs. Memory was filled "
            "with NaN first; every stage ran twice, with the same bits unless it says so. Launches are those "
            f"of Triton kernels, forward and back.\n\n{table(head, rows)}\n\nThe whole pipeline likewise, "
            "without gradients, and with all of the loudest bins in its confidence:\n\n" + "\n".join(lines)
        )

    def _stages(self, preset: str) -> str:
        rows = [self._row(r, preset) for r in self.select("time_stage", preset=preset)]
        rows += [
            self._row(r | {"stage": "**whole pipeline**"}, preset)
            for r in self.select("time_pipeline", preset=preset, role="whole")
        ]
        if not rows:
            return ""
        head = ["stage", "floor", "eager p50 (p20-p80)", "graph p50 (p20-p80)", "times floor", "reference"]
        head += ["times faster", "peers", "peak MiB", "launches"]
        s = self.settings
        return (
            f"## Stages, preset `{preset}`, {s.batch} x {s.seconds:g} s\n\nMilliseconds. Inputs are rotated "
            "so that none is met in the second-level cache. *Graph*: the same calls as one CUDA graph, with "
            "no gaps between launches; where there is one, the ratios are of its time. *Reference*: plain "
            "torch on the same device, as a graph where it can be captured; peers are eager.\n\n"
            f"{table(head, rows)}{self._furthest(preset)}"
        )

    def _furthest(self, preset: str) -> str:
        """List the pipeline's stages by their time beyond the floor, the largest first."""
        excess = []
        for r in self.select("time_stage", preset=preset, whole=True):
            floor = self.floors.get(preset, {}).get(r["stage"])
            if "eager" in r and floor is not None:
                excess.append((_best(r) - floor, r["stage"]))
        lines = [f"{name} {_ms(seconds)}" for seconds, name in sorted(excess, reverse=True)]
        return (
            f"\n\nMilliseconds beyond the floor, of the pipeline's parts: {'; '.join(lines)}."
            if lines
            else ""
        )

    def _row(self, r: Record, preset: str) -> list[str]:
        name, whole = r["stage"], r["kind"] == "time_pipeline"
        floor = self.floors.get(preset, {}).get("whole" if whole else name)
        if "eager" not in r:
            return [name, _ms(floor), *[NONE] * 7, _short(_why(r))]
        best = _best(r)
        if whole:
            references = self.select("time_pipeline", preset=preset, role="references")
        else:
            references = self.select("time_reference", preset=preset, stage=name)
        reference = next((_best(x) for x in references if "eager" in x), None)
        peers = "; ".join(self._peers(self.select("time_peer", preset=preset, stage=name), best))
        graph = _quantiles(r["graph"]) + (" (no capture)" if r.get("graph_failure") else "")
        ratio = NONE if floor is None else f"{best / floor:.1f}"
        faster = NONE if reference is None else f"{reference / best:.1f}"
        peak = NONE if r["peak"] is None else f"{r['peak'] / 2**20:.0f}"
        times = [_quantiles(r["eager"]), graph, ratio, _ms(reference), faster]
        return [name, _ms(floor), *times, peers or NONE, peak, str(r["launches"])]

    @staticmethod
    def _peers(records: Iterable[Record], best: float) -> Iterable[str]:
        for r in records:
            if "eager" in r:
                yield f"{r['peer']} {_ms(r['eager'][1])} ({r['eager'][1] / best:.1f} times)"
            else:
                why = "not installed" if "absent" in r else "failed" if r.get("failure") else "not run"
                yield f"{r['peer']}: {why}"

    def _profiles(self) -> str:
        """List the longest kernels of a call of each preset."""
        parts = []
        for r in self.select("profile"):
            if "kernels" not in r:
                continue
            total = sum(kernel["seconds"] for kernel in r["kernels"])
            count = sum(kernel["launches"] for kernel in r["kernels"])
            rows = [
                [_short(k["name"])[:90], f"{k['launches']:.0f}", _ms(k["seconds"])]
                for k in r["kernels"][:_LONGEST]
            ]
            parts.append(
                f"### Preset `{r['preset']}`, {_size(r)}: {_ms(total)} ms in {count:.0f} launches\n\n"
                f"{table(['kernel', 'launches', 'ms'], rows)}"
            )
        return "\n\n".join(["## The longest kernels of a call", *parts]) if parts else ""

    def _growth(self) -> str:
        parts = []
        for role, title in (("batch", "Batch"), ("length", "Segment length"), ("cues", "Primitives")):
            rows = []
            for r in self.select("time_pipeline", role=role):
                label = ", ".join(r["cues"]) if role == "cues" else f"`{r['preset']}`, {_size(r)}"
                if "eager" not in r:
                    rows.append([label, *[NONE] * 4, _short(_why(r))])
                    continue
                best = _best(r)
                peak = NONE if r["peak"] is None else f"{r['peak'] / 2**20:.0f}"
                rate = f"{r['batch'] * r['seconds'] / best:,.0f}"
                rows.append([label, _quantiles(r["eager"]), _quantiles(r["graph"]), rate, peak, ""])
            if rows:
                head = ["input" if role != "cues" else "primitives", "eager, ms", "graph, ms"]
                parts.append(f"### {title}\n\n{table([*head, 'times real time', 'peak MiB', ''], rows)}")
        if not parts:
            return ""
        about = (
            "## How the whole grows\n\nAudio to stems and confidence. "
            "Recordings over 30 s are separated in overlapping pieces of 30 s, one after the other."
        )
        for r in self.select("time_pipeline", role="gradients"):
            if "eager" in r:
                peak = "" if r["peak"] is None else f", peak {r['peak'] / 2**30:.1f} GiB"
                times = _quantiles(r["eager"])
                parts.append(
                    "With gradients of stems and confidence to the audio, "
                    f"{r['batch']} x {r['seconds']:g} s: {times} ms{peak}."
                )
        return "\n\n".join([about, *parts])

    def _training(self) -> str:
        lines = []
        for r in self.select("time_step", mode="kernels"):
            if "eager" not in r:
                continue
            s, seconds = self.settings, r["eager"][1]
            floor = None
            if self.ceilings:
                floor = sum(Phase(*phase).seconds(self.ceilings) for phase in r["phases"])
            references = self.select("time_step", mode="references")
            reference = next((x["eager"][1] for x in references if "eager" in x), None)
            peak = "" if r["peak"] is None else f", peak {r['peak'] / 2**30:.1f} GiB"
            lines.append(
                f"- Deep-clustering step, network `{s.network or 'tiny'}`, {s.sequences} x {s.frames} "
                f"frames, bf16 autocast {r['bfloat16']}: {_quantiles(r['eager'])} ms, "
                f"{s.sequences / seconds:,.0f} sequences/s; floor {_ms(floor)} ms (matrix products and one "
                f"pass over what the head writes); by references {_ms(reference)} ms{peak}. "
                f"Loss {r['first_loss']:.4f} to {r['last_loss']:.4f}."
            )
        for r in self.select("time_stream"):
            if "batch_seconds" not in r:
                continue
            rate = r["sequences"] / r["batch_seconds"]
            lines.append(
                f"- Remix stream alone, batches of {r['sequences']}: {rate:,.0f} sequences/s, "
                f"{rate * r['sequence_seconds']:,.0f} times real time, renewals of its store of {r['slots']} "
                f"segments every {r['group']} steps counted; filling it took {r['filling']:.1f} s. "
                f"The host launches a batch in {_ms(r['host_seconds'])} ms."
            )
            share = 1 - r["constant_step_seconds"] / r["step_seconds"]
            hours = r["sequences"] * r["sequence_seconds"] / r["step_seconds"]
            lines.append(
                f"- Training step with the stream {_ms(r['step_seconds'])} ms, with a constant batch "
                f"{_ms(r['constant_step_seconds'])} ms: data take {share:.0%} of the step; {hours:,.0f} "
                "hours of audio an hour."
            )
        return "## Training\n\n" + "\n".join(lines) if lines else ""

    def _failures(self) -> str:
        """List all failures in full, which cells of a table shorten."""
        lines = [f"- {r['name']}: {' '.join(r['failure'].split())}" for r in self.failures()]
        lines += [
            f"- {r['name']}: no graph, {' '.join(r['graph_failure'].split())}"
            for r in self.records
            if r.get("graph_failure")
        ]
        return "## What failed\n\n" + "\n".join(lines) if lines else ""

    def _real_time(self) -> str:
        lines = []
        for preset, role in itertools.product(self.settings.presets, ("whole", "float16")):
            title = f"preset `{preset}`" + (", masks in float16" if role == "float16" else "")
            floor = self.floors.get(preset, {}).get("whole") if role == "whole" else None
            for r in self.select("time_pipeline", preset=preset, role=role):
                if "eager" not in r:
                    continue
                best = _best(r)
                ratio = "" if floor is None else f", {best / floor:.1f} times the floor of {_ms(floor)} ms"
                lines.append(
                    f"- {title}: **{r['batch'] * r['seconds'] / best:,.0f} times real time** "
                    f"({r['batch']} x {r['seconds']:g} s in {_ms(best)} ms{ratio})"
                )
        return "## Times real time, whole pipeline\n\n" + "\n".join(lines) if lines else ""
