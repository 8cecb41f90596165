"""Figures, axes and colour bars in one style.

matplotlib's object interface, without pyplot: no global state changes and no window opens. Colour maps are
perceptually uniform and safe for the colour-blind: `magma` for levels, `cividis` for masks (dark =
accompaniment, light = vocals), `viridis` for counts. `INK` is the colour of text and lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchprim import checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


INK = "#202124"
BLUE, GREY, ORANGE = "#0072b2", "#8c8c8c", "#d55e00"  # accompaniment, neither, vocals (Okabe and Ito)
GREEN, PURPLE = "#009e73", "#cc79a7"  # of more sources
TEXT_SIZE = 8.0  # points: readable in a column 8 cm wide


def new_figure(width: float, height: float, columns: int = 1, *, ink: str = INK) -> tuple[Figure, list[Axes]]:
    """Create an empty figure on the Agg canvas, with a row of axes.

    Args:
        width: in inches.
        height: in inches.
        columns: number of axes.
        ink: colour of text, ticks and frames.

    Returns:
        the figure and its axes.

    Raises:
        ValueError: for a width or height that is not positive, or no columns.
        ImportError: without matplotlib.

    Example:
        >>> from torchprim.plots.figure import new_figure
        >>> figure, axes = new_figure(6, 2, columns=2)
        >>> len(axes)
        2
    """
    checks.positive(width, "width")
    checks.positive(height, "height")
    checks.integer(columns, "columns", 1)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    FigureCanvasAgg(figure)
    row = [figure.add_subplot(1, columns, i + 1) for i in range(columns)]
    for axes in row:
        style_axes(axes, ink)
    return figure, row


def style_axes(axes: Axes, ink: str) -> None:
    """Set colours, line widths and text sizes of axes."""
    axes.set_facecolor("none")
    axes.tick_params(labelsize=TEXT_SIZE, colors=ink, length=3, width=0.6)
    for spine in axes.spines.values():
        spine.set(edgecolor=ink, linewidth=0.6)
    axes.xaxis.label.set(color=ink, fontsize=TEXT_SIZE)
    axes.yaxis.label.set(color=ink, fontsize=TEXT_SIZE)
    axes.title.set(color=ink, fontsize=TEXT_SIZE + 1)


def ink_of(axes: Axes) -> Any:
    """Return the text colour of axes."""
    return axes.xaxis.label.get_color()


def colour_bar(axes: Axes, drawn: Any, label: str) -> Any:
    """Draw a slim, labelled colour bar of the image or scatter plot `drawn`, beside its axes."""
    bar = axes.figure.colorbar(drawn, ax=axes, pad=0.015, fraction=0.06, aspect=24)
    bar.outline.set_visible(False)
    style_axes(bar.ax, ink_of(axes))
    bar.set_label(label, color=ink_of(axes), fontsize=TEXT_SIZE)
    bar.solids.set(rasterized=True, alpha=1)
    return bar
