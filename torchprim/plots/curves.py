"""Curves over steps or over time, and histograms of what is kept and what is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from torchprim.plots.figure import BLUE, GREY, TEXT_SIZE, ink_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 300  # of a curve: what a page shows of many more


def draw_curve(
    axes: Axes,
    steps: Sequence[float],
    values: Sequence[float],
    label: str,
    *,
    colour: str = BLUE,
    marked: bool = False,
) -> None:
    """Draw values over steps; of more than 300 the means of equal shares, in a band of their extremes.

    Args:
        axes: to draw on.
        steps: increasing.
        values: one a step, finite.
        label: for the legend.
        colour: of the line.
        marked: whether to mark every point, as for the few values of validations.

    Raises:
        ValueError: where there are no values, or not one a step.

    Example:
        >>> from torchprim.plots.curves import draw_curve
        >>> from torchprim.plots.figure import new_figure
        >>> figure, (axes,) = new_figure(6, 2)
        >>> draw_curve(axes, range(1, 1001), [1 / n for n in range(1, 1001)], "loss")
        >>> len(axes.lines[0].get_xdata())
        300
    """
    if not len(values) or len(steps) != len(values):
        raise ValueError(f"values must be one for each of {len(steps)} steps, got {len(values)}")
    shares = np.array_split(np.arange(len(values)), min(_POINTS, len(values)))
    x, y = np.asarray(steps, dtype=float), np.asarray(values, dtype=float)
    means = [x[share].mean() for share in shares]
    if len(shares) < len(values):
        low, high = ([end(y[share]) for share in shares] for end in (np.min, np.max))
        axes.fill_between(means, low, high, color=colour, alpha=0.2, linewidth=0)
    style = {"marker": "o", "markersize": 3} if marked else {}
    axes.plot(means, [y[share].mean() for share in shares], color=colour, linewidth=1.2, label=label, **style)


def draw_legend(axes: Axes) -> None:
    """Draw the legend and the grid of a plot of curves over steps."""
    axes.set_xlabel("Step")
    axes.grid(color=GREY, alpha=0.3, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=TEXT_SIZE, labelcolor=ink_of(axes))


def draw_over_time(
    axes: Axes, times: Sequence[float], values: Sequence[float], label: str, *, mean: float, seconds: float
) -> None:
    """Draw values at some times of a recording, and a dashed line at the value of the whole.

    Args:
        axes: to draw on.
        times: increasing, in s.
        values: one a time, finite.
        label: name and unit of the values.
        mean: of the whole recording.
        seconds: its duration, the end of the time axis.

    Raises:
        ValueError: where there are no values, or not one a time.

    Example:
        >>> from torchprim.plots.curves import draw_over_time
        >>> from torchprim.plots.figure import new_figure
        >>> figure, (axes,) = new_figure(6, 2)
        >>> draw_over_time(axes, [1.0, 2.0], [0.3, 0.5], "Confidence", mean=0.4, seconds=3.0)
        >>> [float(end) for end in axes.get_xlim()]
        [0.0, 3.0]
    """
    if not len(values) or len(times) != len(values):
        raise ValueError(f"values must be one for each of {len(times)} times, got {len(values)}")
    low = min(0.0, *values, mean)
    axes.fill_between(times, low, values, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(times, values, color=BLUE, linewidth=1.4, marker="o", markersize=2.5)
    axes.axhline(mean, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set(xlim=(0.0, seconds), ylim=(low, max(1e-3, 1.15 * max(*values, mean))))
    axes.set(xlabel="Time (s)", ylabel=label)
    axes.yaxis.get_major_locator().set_params(nbins=4)
    axes.grid(color=GREY, alpha=0.3, linewidth=0.5)
    axes.set_axisbelow(True)


def draw_shares(
    axes: Axes, kept: Sequence[float], dropped: Sequence[float], label: str, *, bins: int = 40
) -> None:
    """Draw a stacked histogram of numbers, those that are kept and those that are dropped.

    Args:
        axes: to draw on.
        kept: finite numbers.
        dropped: finite numbers.
        label: name and unit of the numbers.
        bins: number of bars.

    Raises:
        ValueError: where there are no numbers.

    Example:
        >>> from torchprim.plots.curves import draw_shares
        >>> from torchprim.plots.figure import new_figure
        >>> figure, (axes,) = new_figure(6, 2)
        >>> draw_shares(axes, [0.4, 0.5, 0.6], [0.1], "Confidence")
        >>> [text.get_text() for text in axes.get_legend().get_texts()]
        ['used (3)', 'dropped (1)']
    """
    if not len(kept) + len(dropped):
        raise ValueError(f"kept and dropped must hold numbers, got {list(kept)} and {list(dropped)}")
    axes.hist(
        [list(kept), list(dropped)],
        bins=bins,
        stacked=True,
        color=[BLUE, GREY],
        label=[f"used ({len(kept)})", f"dropped ({len(dropped)})"],
    )
    axes.set(xlabel=label, ylabel="Segments")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=TEXT_SIZE, labelcolor=ink_of(axes))
