"""SD-SDR of vocals and accompaniment for every primitive and preset, on previews of MUSDB18.

The mixture is the sum of the stems, channels are averaged after the separation, silence below the null and
the ideal mask above stand beside. Primitives have the settings of the preset `best`.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterable
from pathlib import Path

import torch

from benchmarks.data import SPLITS, preview_paths, read_preview
from torchprim.evaluation.markdown import table
from torchprim.evaluation.methods import BUILT_IN, Score, find_methods, row_title, score_methods
from torchprim.evaluation.provenance import processor_line, versions_line
from torchprim.evaluation.songs import Song
from torchprim.plots.boxes import draw_boxes
from torchprim.plots.figure import new_figure

BEST = "pcl:best"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--split", choices=SPLITS, default="odd", help="even: tuning; odd: reporting (default)"
    )
    parser.add_argument("--device", default="cpu", help="torch device (%(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (%(default)s)")


def measure(songs: Iterable[Song], device: str = "cpu") -> dict[str, list[Score]]:
    """Score every method without a checkpoint, song by song."""
    methods = find_methods(BUILT_IN, device=device)
    results: dict[str, list[Score]] = {method.name: [] for method in methods}
    for song in songs:
        for score, _ in score_methods(methods, song._replace(sources=song.sources.to(device))):
            results[score.name].append(score)
    return results


def _row(name: str, scores: list[Score], best: list[Score]) -> list[str]:
    defined = [score for score in scores if not math.isnan(score.mean)]
    cells = [row_title(name)]
    for part in ("vocals", "accompaniment", "mean"):
        values = [getattr(score, part) for score in defined]
        cells += [f"{statistics.fmean(values):.2f}", f"{statistics.median(values):.2f}"]
    pairs = zip((score.mean for score in best), (score.mean for score in scores), strict=True)
    differences = [a - b for a, b in pairs if not (math.isnan(a) or math.isnan(b))]
    if name == BEST or len(differences) < 2:
        return [*cells, ""]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return [*cells, f"{statistics.fmean(differences):+.2f} ± {error:.2f}"]


def write_boxes(results: dict[str, list[Score]], path: Path) -> None:
    """Draw box plots over songs, a row a method: SD-SDR of vocals, of accompaniment, and their mean."""
    from matplotlib.ticker import MultipleLocator

    figure, panels = new_figure(10, 0.28 * len(results) + 0.6, columns=3)
    parts = {"Vocals": "vocals", "Accompaniment": "accompaniment", "Mean of both": "mean"}
    for axes, (title, part) in zip(panels, parts.items(), strict=True):
        finite = {
            row_title(name, "ensemble {}"): [getattr(s, part) for s in scores if math.isfinite(s.mean)]
            for name, scores in results.items()
        }
        draw_boxes(axes, finite, "SD-SDR (dB)")
        axes.set_title(title, fontsize=9)
        axes.xaxis.set_major_locator(MultipleLocator(5))
        if axes is not panels[0]:
            axes.set_yticklabels([])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160, facecolor="white")


def run(options: argparse.Namespace) -> str:
    from tqdm import tqdm

    torch.set_num_threads(options.threads)
    songs = [read_preview(path) for path in preview_paths(options.split)]
    results = measure(tqdm(songs, desc="songs"), options.device)
    silent = [
        song.name for song, score in zip(songs, results["mixture"], strict=True) if math.isnan(score.mean)
    ]
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
    left_out = f" Left out, a source being silent: {', '.join(silent)}." if silent else ""
    return "\n\n".join(
        [
            f"# Quality: SD-SDR (dB) on {len(songs)} previews of MUSDB18, split `{options.split}`",
            "Whole previews, mixture = sum of the stems, channels averaged after the separation; `both` is "
            "the mean of the two sources of a song. Primitives have the settings of the preset `best`; "
            "null = 0.7 x the mixture above 250 Hz; ideal mask = ratio of the true magnitudes. The last "
            "column is the mean of the paired "
            f"differences of `both`, ± its standard error.{left_out}",
            table(head, [_row(name, scores, results[BEST]) for name, scores in results.items()]),
            f"![Box plots of SD-SDR, one box a method]({picture.name})",
            "Boxes: quartiles over songs; orange: median; blue: mean; whiskers: up to 1.5 times the box.",
            f"{versions_line('torchaudio')}. Device: {options.device}; {processor_line()}.",
        ]
    )
