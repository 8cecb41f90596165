"""Box plots of scores by method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torchprim.plots.figure import BLUE, GREY, ORANGE, ink_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_boxes(axes: Axes, values: Mapping[str, Sequence[float]], label: str) -> None:
    """Draw a horizontal box per method: quartiles, whiskers to 1.5 interquartile ranges, mean as a dot.

    Args:
        axes: to draw on.
        values: finite numbers of each method, by its name; the first is drawn on top.
        label: name and unit of the values.

    Raises:
        ValueError: where there are no methods, or one has no values.

    Example:
        >>> from torchprim.plots.boxes import draw_boxes
        >>> from torchprim.plots.figure import new_figure
        >>> figure, (axes,) = new_figure(4, 2)
        >>> draw_boxes(axes, {"hpss": [1.0, 2.0, 4.0], "pcl": [3.0, 5.0, 6.0]}, "SD-SDR (dB)")
        >>> axes.get_xlabel()
        'SD-SDR (dB)'
    """
    if not values or not all(len(row) for row in values.values()):
        raise ValueError(f"values must hold numbers for every method, got {dict(values)!r}")
    ink = ink_of(axes)
    axes.boxplot(
        list(values.values()),
        orientation="horizontal",
        widths=0.6,
        showmeans=True,
        boxprops={"color": ink, "linewidth": 0.8},
        whiskerprops={"color": ink, "linewidth": 0.8},
        capprops={"color": ink, "linewidth": 0.8},
        medianprops={"color": ORANGE, "linewidth": 1.6},
        meanprops={"marker": "o", "markersize": 3, "markerfacecolor": BLUE, "markeredgecolor": BLUE},
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": GREY},
    )
    axes.set_yticks(range(1, len(values) + 1), list(values))
    axes.invert_yaxis()
    axes.grid(axis="x", color=GREY, alpha=0.4, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel(label)
