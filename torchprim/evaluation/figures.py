"""The paper's figures, each as wide as a column of text (8.6 cm), with letters of 8 points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from torchprim.evaluation.statistics import Interval, line
from torchprim.files import replaced
from torchprim.plots.boxes import draw_boxes
from torchprim.plots.figure import BLUE, GREY, INK, ORANGE, new_figure

WIDTH = 3.4  # inches
_DPI = 220


def _save(figure, path: Path) -> None:
    """Written whole or not at all."""
    with replaced(path) as file:
        figure.savefig(file, format="png", dpi=_DPI, facecolor="white")


def short(name: str) -> str:
    """A method's name for an axis: of a checkpoint the end of its path, `RUN/best.pt` as `RUN`.

    Example:
        >>> from torchprim.evaluation.figures import short
        >>> short("runs/q1/best.pt"), short("pcl+runs/a.pt"), short("2dft-r")
        ('q1', 'pcl + a', '2dft-r')
    """
    front, plus, rest = name.rpartition("pcl+")
    if not rest.endswith(".pt"):
        return name
    path = Path(rest)
    label = path.parent.name if path.stem in ("best", "last") and path.parent.name else path.stem
    return f"{front}pcl + {label}" if plus else label


def labels(names: Iterable[str]) -> dict[str, str]:
    """Short names where they tell methods apart, else the names.

    Example:
        >>> from torchprim.evaluation.figures import labels
        >>> labels(["a/q1/best.pt", "pcl"]), labels(["a/q1/best.pt", "b/q1/best.pt"])["b/q1/best.pt"]
        ({'a/q1/best.pt': 'q1', 'pcl': 'pcl'}, 'b/q1/best.pt')
    """
    names = list(names)
    made = [short(name) for name in names]
    return {name: label if made.count(label) == 1 else name for name, label in zip(names, made, strict=True)}


def save_boxes(values: Mapping[str, Sequence[float]], label: str, path: Path) -> None:
    """Figures 3 and 4: a box a method over songs, with quartiles, median, mean and single songs.

    Args:
        values: of each method, the first on top.
        label: name and unit of the values.
        path: of the PNG.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = new_figure(WIDTH, 0.19 * len(values) + 0.85)
    names = labels(values)
    draw_boxes(axes, {names[name]: row for name, row in values.items()}, label)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    songs = max(map(len, values.values()))
    marks = [
        Line2D([], [], color=ORANGE, linewidth=1.6),
        Line2D([], [], color=BLUE, marker="o", markersize=3, linewidth=0),
        Line2D([], [], color=GREY, marker=".", markersize=3, linewidth=0),
    ]
    figure.legend(
        marks,
        ["median", f"mean of {songs} songs", "outlier"],
        loc="outside upper center",
        ncols=3,
        fontsize=7.5,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.0,
        labelcolor=INK,
    )
    _save(figure, path)


def save_scatter(
    confidence: Sequence[float],
    scores: Sequence[float],
    r: Interval,
    partial: Interval,
    label: str,
    path: Path,
    measure: str = "Confidence",
) -> None:
    """Figure 2: a dot a song, the line of best fit, r with its interval, and r given the level ratio.

    Args:
        confidence: one number a song.
        scores: one number a song.
        r: their correlation.
        partial: the same given the input level ratio.
        label: name and unit of the scores.
        path: of the PNG.
        measure: name of the first axis.
    """
    figure, (axes,) = new_figure(WIDTH, 2.7)
    x, y = np.asarray(confidence), np.asarray(scores)
    axes.scatter(x, y, s=14, color=BLUE, alpha=0.75, linewidths=0, label="a song")
    if len(x) > 1 and np.ptp(x) > 0:
        slope, start = line(x, y)
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, slope * ends + start, color=ORANGE, linewidth=1.4, label="best fit")
    axes.grid(color=GREY, alpha=0.35, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set(xlabel=measure, ylabel=label)
    axes.set_title(f"r = {_with(r)}\ngiven the level ratio: r = {_with(partial)}", fontsize=8, color=INK)
    axes.legend(fontsize=7.5, frameon=True, framealpha=0.8, edgecolor="none", labelcolor=INK, loc="best")
    _save(figure, path)


def _with(r: Interval) -> str:
    return f"{r.value:.2f} [{r.low:.2f}, {r.high:.2f}]" if r.low == r.low else f"{r.value:.2f}"
