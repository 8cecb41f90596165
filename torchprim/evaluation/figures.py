"""The paper's figures as PNG, SVG or PDF, one column wide (8.6 cm), with letters of 8 points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from torchprim.evaluation.statistics import Interval, line
from torchprim.files import replaced
from torchprim.plots.boxes import draw_boxes
from torchprim.plots.figure import BLUE, GREY, INK, ORANGE, new_figure

WIDTH = 3.4  # inches
FORMATS = ("png", "svg", "pdf")
_DPI = 220
# The same figure gives the same file. Fonts are embedded, as publishers ask; letters of an SVG are outlines.
_STYLE = {"svg.hashsalt": "torchprim", "svg.fonttype": "path", "pdf.fonttype": 42}
_DATES = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def figure_formats(text: str) -> tuple[str, ...]:
    """Parse a list of formats, such as `png,svg`.

    Raises:
        ValueError: for an unknown format, or none.

    Example:
        >>> from torchprim.evaluation.figures import figure_formats
        >>> figure_formats("png, pdf")
        ('png', 'pdf')
    """
    formats = tuple(dict.fromkeys(word.strip().lower() for word in text.split(",") if word.strip()))
    if not formats or not set(formats) <= set(FORMATS):
        raise ValueError(f"figures must be some of {','.join(FORMATS)}, got {text!r}")
    return formats


def _save(figure, path: Path, formats: Sequence[str]) -> list[Path]:
    import matplotlib

    files = []
    for name in formats:
        target = path.with_name(f"{path.name}.{name}")
        with matplotlib.rc_context(_STYLE), replaced(target) as file:
            figure.savefig(file, format=name, dpi=_DPI, facecolor="white", metadata=_DATES[name])
        files.append(target)
    return files


def short_label(name: str) -> str:
    """Shorten a method's name for an axis: a checkpoint to the end of its path, `RUN/best.pt` to `RUN`.

    Example:
        >>> from torchprim.evaluation.figures import short_label
        >>> short_label("runs/q1/best.pt"), short_label("pcl+runs/a.pt"), short_label("2dft-r")
        ('q1', 'pcl + a', '2dft-r')
    """
    prefix, plus, checkpoint = name.rpartition("pcl+")
    if not checkpoint.endswith(".pt"):
        return name
    path = Path(checkpoint)
    label = path.parent.name if path.stem in ("best", "last") and path.parent.name else path.stem
    return f"{prefix}pcl + {label}" if plus else label


def method_labels(names: Iterable[str]) -> dict[str, str]:
    """Label methods by their short labels where these are unique, else by their names.

    Example:
        >>> from torchprim.evaluation.figures import method_labels
        >>> method_labels(["a/q1/best.pt", "pcl"])
        {'a/q1/best.pt': 'q1', 'pcl': 'pcl'}
        >>> method_labels(["a/q1/best.pt", "b/q1/best.pt"])["b/q1/best.pt"]
        'b/q1/best.pt'
    """
    short = {name: short_label(name) for name in names}
    counts = Counter(short.values())
    return {name: label if counts[label] == 1 else name for name, label in short.items()}


def save_boxes(
    values: Mapping[str, Sequence[float]], label: str, path: Path, formats: Sequence[str] = ("png",)
) -> list[Path]:
    """Draw figures 3 and 4: a box plot over songs for each method.

    Args:
        values: of each method, the first on top.
        label: of the axis, with the unit.
        path: of the files, without a suffix.
        formats: some of `FORMATS`.

    Returns:
        the files.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = new_figure(WIDTH, 0.19 * len(values) + 0.85)
    labels = method_labels(values)
    draw_boxes(axes, {labels[name]: row for name, row in values.items()}, label)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    songs = max(map(len, values.values()))
    handles = [
        Line2D([], [], color=ORANGE, linewidth=1.6),
        Line2D([], [], color=BLUE, marker="o", markersize=3, linewidth=0),
        Line2D([], [], color=GREY, marker=".", markersize=3, linewidth=0),
    ]
    figure.legend(
        handles,
        ["median", f"mean of {songs} songs", "outlier"],
        loc="outside upper center",
        ncols=3,
        fontsize=7.5,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.0,
        labelcolor=INK,
    )
    return _save(figure, path, formats)


def save_scatter(
    confidence: Sequence[float],
    scores: Sequence[float],
    r: Interval,
    partial: Interval,
    label: str,
    path: Path,
    measure: str = "Confidence",
    formats: Sequence[str] = ("png",),
) -> list[Path]:
    """Draw figure 2: a scatter plot over songs, the line of best fit, r and the partial r.

    Args:
        confidence: one number a song, on the x axis.
        scores: one number a song, on the y axis.
        r: their correlation.
        partial: their partial correlation given the input level ratio.
        label: of the y axis, with the unit.
        path: of the files, without a suffix.
        measure: label of the x axis.
        formats: some of `FORMATS`.

    Returns:
        the files.
    """
    figure, (axes,) = new_figure(WIDTH, 2.7)
    x, y = np.asarray(confidence), np.asarray(scores)
    axes.scatter(x, y, s=14, color=BLUE, alpha=0.75, linewidths=0, label="a song")
    if len(x) > 1 and np.ptp(x) > 0:
        slope, intercept = line(x, y)
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, slope * ends + intercept, color=ORANGE, linewidth=1.4, label="best fit")
    axes.grid(color=GREY, alpha=0.35, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set(xlabel=measure, ylabel=label)
    axes.set_title(f"r = {_text(r)}\ngiven the level ratio: r = {_text(partial)}", fontsize=8, color=INK)
    axes.legend(fontsize=7.5, frameon=True, framealpha=0.8, edgecolor="none", labelcolor=INK, loc="best")
    return _save(figure, path, formats)


def _text(r: Interval) -> str:
    return f"{r.value:.2f} [{r.low:.2f}, {r.high:.2f}]" if r.low == r.low else f"{r.value:.2f}"
