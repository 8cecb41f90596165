"""Scores of other songs over a measure, and where one song stands among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torchprim.plots.figure import BLUE, GREY, ORANGE, TEXT_SIZE, ink_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"vocals": ORANGE, "accompaniment": BLUE}


def draw_peers(
    axes: Axes, measure: Sequence[float], scores: Mapping[str, Sequence[float]], value: float, label: str
) -> None:
    """Draw a dot for each score of each other song over its measure, and a line at this song's.

    Args:
        axes: to draw on.
        measure: of each other song, on the horizontal axis.
        scores: of each source, vocals and accompaniment: one a song, in dB.
        value: the measure of this song.
        label: name of the measure.

    Raises:
        ValueError: where there is not one score a song.

    Example:
        >>> from torchprim.plots.figure import new_figure
        >>> from torchprim.plots.peers import draw_peers
        >>> figure, (axes,) = new_figure(6, 2)
        >>> draw_peers(axes, [0.1, 0.5], {"vocals": [1.0, 5.0]}, 0.3, "Confidence")
        >>> axes.get_ylabel()
        'SD-SDR (dB)'
    """
    for source, values in scores.items():
        if len(values) != len(measure):
            raise ValueError(f"scores of {source} must be one for each of {len(measure)}, got {len(values)}")
        colour = _COLOURS.get(source, GREY)
        axes.scatter(measure, values, s=13, color=colour, alpha=0.85, linewidths=0, label=source)
    axes.axvline(value, color=ink_of(axes), linewidth=1.1, label="this song")
    axes.set(xlabel=label, ylabel="SD-SDR (dB)")
    axes.grid(color=GREY, alpha=0.3, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.legend(
        frameon=False, fontsize=TEXT_SIZE, labelcolor=ink_of(axes), loc="upper left", bbox_to_anchor=(1, 1)
    )
