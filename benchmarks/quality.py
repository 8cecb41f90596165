"""SD-SDR of vocals and accompaniment for every primitive and preset, on previews of MUSDB18.

The mixture is the sum of the stems, channels are averaged to mono, silence below the null and the ideal
mask above stand beside. Primitives have the settings of the preset `best`.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path

import torch
from torch import Tensor

import torchprim as tp
from benchmarks.data import SPLITS, Song, preview_paths, read_song
from torchprim.ensemble.presets import PRESETS, PRIMITIVES
from torchprim.evaluation.markdown import table
from torchprim.evaluation.provenance import processor_line, versions_line
from torchprim.metrics.baselines import baseline_estimates
from torchprim.plots.boxes import draw_boxes
from torchprim.plots.figure import new_figure

Scores = tuple[float, float]  # vocals, accompaniment, in dB


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--split", choices=SPLITS, default="odd", help="even: tuning; odd: reporting (default)"
    )
    parser.add_argument("--device", default="cpu", help="torch device (%(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (%(default)s)")


def methods() -> dict[str, tp.PrimitiveSeparator]:
    """Every primitive with the settings of `best`, and every preset, by the name of its row."""
    rows = {name: tp.PrimitiveSeparator("best", method=name) for name in PRIMITIVES}
    order = sorted(PRESETS, key=lambda name: name == "best")
    return rows | {f"ensemble `{name}`": tp.PrimitiveSeparator(name) for name in order}


def scores(song: Song, vocals: Tensor, accompaniment: Tensor) -> Scores:
    """SD-SDR of estimates of the vocals and of the accompaniment."""
    return (
        tp.sd_sdr(song.vocals, vocals).item(),
        tp.sd_sdr(song.accompaniment, accompaniment).item(),
    )


def _row(name: str, values: list[Scores], best: list[Scores]) -> list[str]:
    known = [pair for pair in values if not any(map(math.isnan, pair))]
    cells = [name]
    for column in (*zip(*known, strict=True), [_mean(pair) for pair in known]):
        cells += [f"{statistics.fmean(column):.2f}", f"{statistics.median(column):.2f}"]
    differences = [
        _mean(mine) - _mean(other)
        for mine, other in zip(best, values, strict=True)
        if not any(map(math.isnan, (*mine, *other)))
    ]
    if name == "ensemble `best`" or len(differences) < 2:
        return [*cells, ""]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return [*cells, f"{statistics.fmean(differences):+.2f} ± {error:.2f}"]


def measure(songs: list[Song], device: str = "cpu", progress=None) -> dict[str, list[Scores]]:
    """Scores of every method, song by song."""
    separators = {name: separator.to(device) for name, separator in methods().items()}
    results: dict[str, list[Scores]] = {}
    for number, song in enumerate(songs, 1):
        moved = song._replace(vocals=song.vocals.to(device), accompaniment=song.accompaniment.to(device))
        estimates = baseline_estimates(moved.vocals, moved.accompaniment, song.sample_rate)
        ideal = estimates.pop("ideal mask")
        with torch.no_grad():
            for name, separator in separators.items():
                estimates[name] = separator(moved.mixture, song.sample_rate)[:2]
        for name, stems in (estimates | {"ideal mask": ideal}).items():
            results.setdefault(name, []).append(scores(moved, *stems))
        if progress is not None:
            progress(number, len(songs))
    return results


def write_boxes(results: dict[str, list[Scores]], path: Path) -> None:
    """A picture of every method's songs: SD-SDR of vocals, of accompaniment, and their mean."""
    from matplotlib.ticker import MultipleLocator

    figure, panels = new_figure(10, 0.28 * len(results) + 0.6, columns=3)
    parts = {"Vocals": lambda pair: pair[0], "Accompaniment": lambda pair: pair[1], "Mean of both": _mean}
    for axes, (title, part) in zip(panels, parts.items(), strict=True):
        names = {name.replace("`", ""): values for name, values in results.items()}
        finite = {
            name: [part(v) for v in values if math.isfinite(_mean(v))] for name, values in names.items()
        }
        draw_boxes(axes, finite, "SD-SDR (dB)")
        axes.set_title(title, fontsize=9)
        axes.xaxis.set_major_locator(MultipleLocator(5))
        if axes is not panels[0]:
            axes.set_yticklabels([])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160, facecolor="white")


def _mean(pair: Scores) -> float:
    return sum(pair) / 2


def run(options: argparse.Namespace) -> str:
    from tqdm import tqdm

    torch.set_num_threads(options.threads)
    paths = preview_paths(options.split)
    songs = [read_song(path) for path in paths]
    with tqdm(total=len(songs), desc="songs") as bar:
        results = measure(songs, options.device, lambda done, of: bar.update())
    undefined = [
        song.name for song, pair in zip(songs, results["mixture"], strict=True) if any(map(math.isnan, pair))
    ]
    best = results["ensemble `best`"]
    head = [
        "method",
        "vocals mean",
        "median",
        "acc. mean",
        "median",
        "both mean",
        "median",
        "`best` minus it",
    ]
    picture = options.out.with_suffix(".png")
    write_boxes(results, picture)
    left_out = f" Left out, a source being silent: {', '.join(undefined)}." if undefined else ""
    return "\n\n".join(
        [
            f"# Quality: SD-SDR (dB) on {len(songs)} previews of MUSDB18, split `{options.split}`",
            "Mono, whole previews, mixture = sum of the stems; `both` is the mean of the two sources of a "
            "song. Primitives have the settings of the preset `best`; null = 0.7 x the mixture above 250 Hz; "
            "ideal mask = ratio of the true magnitudes. The last column is the mean of the paired "
            f"differences of `both`, ± its standard error.{left_out}",
            table(head, [_row(name, values, best) for name, values in results.items()]),
            f"![Box plots of SD-SDR, one box a method]({picture.name})",
            "Boxes: quartiles over songs; orange: median; blue: mean; whiskers: up to 1.5 times the box.",
            f"{versions_line('torchaudio')}. Device: {options.device}; {processor_line()}.",
        ]
    )
