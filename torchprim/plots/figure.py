"""Pictures of spectrograms, masks and embeddings, drawn on matplotlib axes that the caller owns.

matplotlib's object interface alone, so nothing global changes and no window opens. Colour maps are
perceptually uniform and safe for colour-blind eyes: `magma` for levels, `cividis` for masks (dark =
accompaniment, light = vocals), `viridis` for counts. `INK` is the colour of text and lines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from torchprim import checks
from torchprim.plots.log_frequency import LOWEST, on_log_frequency
from torchprim.spectra.stft import Geometry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from torchprim.primitives.pitch.track_pitch import PitchTrack

INK = "#202124"
BLUE, GREY, ORANGE = "#0072b2", "#8c8c8c", "#d55e00"  # accompaniment, neither, vocals (Okabe and Ito)
_PITCH = "#56d4f5"  # light blue stands out from all of `magma`
DYNAMIC_RANGE = 70.0  # dB below the loudest that a spectrogram shows
_TEXT = 8.0  # points: readable in a column 8 cm wide


def new_figure(width: float, height: float, columns: int = 1, *, ink: str = INK) -> tuple[Figure, list[Axes]]:
    """An empty figure on the Agg canvas, with a row of axes.

    Args:
        width: in inches.
        height: in inches.
        columns: number of axes, side by side.
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
        _dress(axes, ink)
    return figure, row


def _dress(axes: Axes, ink: str) -> None:
    axes.set_facecolor("none")
    axes.tick_params(labelsize=_TEXT, colors=ink, length=3, width=0.6)
    for spine in axes.spines.values():
        spine.set(edgecolor=ink, linewidth=0.6)
    axes.xaxis.label.set(color=ink, fontsize=_TEXT)
    axes.yaxis.label.set(color=ink, fontsize=_TEXT)
    axes.title.set(color=ink, fontsize=_TEXT + 1)


def _ink(axes: Axes) -> Any:
    return axes.xaxis.label.get_color()


def _draw(axes: Axes, values: np.ndarray, duration: float, start: float, highest: float, **style: Any) -> Any:
    octaves = math.log2(LOWEST), math.log2(highest)
    image = axes.imshow(
        values,
        origin="lower",
        aspect="auto",
        interpolation="none",
        extent=(start, start + duration, *octaves),
        **style,
    )
    marks = [f for f in (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000) if LOWEST <= f <= highest]
    axes.set_yticks([math.log2(f) for f in marks], [f"{f // 1000}k" if f >= 1000 else str(f) for f in marks])
    axes.set_xlabel("Time (s)")
    axes.set_ylabel("Frequency (Hz)")
    return image


def draw_spectrogram(
    axes: Axes, magnitude: Tensor, geometry: Geometry, *, start: float = 0.0, highest: float | None = None
) -> Any:
    """A power spectrogram in dB below its loudest band, over time and log frequency.

    Args:
        axes: where to draw.
        magnitude: `(F, N)`.
        geometry: its grid.
        start: time of the first frame, in s.
        highest: upper end of the frequency axis in Hz; by default half the sample rate.

    Returns:
        matplotlib's image, for `colour_bar`.

    Raises:
        ValueError: for a magnitude that is negative, not finite or not of this geometry.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.plots.figure import draw_spectrogram, new_figure
        >>> figure, (axes,) = new_figure(6, 2)
        >>> image = draw_spectrogram(axes, tp.stft(torch.randn(44100)).abs(), tp.Geometry())
        >>> axes.get_ylabel()
        'Frequency (Hz)'
    """
    checks.magnitude(magnitude)
    power = on_log_frequency(magnitude.double().square(), geometry, highest=highest)
    loudest = power.max()
    floor = 10 ** (-DYNAMIC_RANGE / 10)
    level = 10 * np.log10(np.maximum(power / loudest if loudest > 0 else power, floor))
    duration = magnitude.shape[1] * geometry.hop_length / geometry.sample_rate
    highest = geometry.sample_rate / 2 if highest is None else highest
    return _draw(axes, level, duration, start, highest, cmap="magma", vmin=-DYNAMIC_RANGE, vmax=0)


def draw_pitch(axes: Axes, track: PitchTrack, *, start: float = 0.0) -> None:
    """The pitch of a voice as a line over a spectrogram, where it is voiced.

    Args:
        axes: with a picture of `draw_spectrogram` or `draw_mask`, whose extent is kept.
        track: of one recording, `(N,)`.
        start: time of the track's first frame, in s.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.plots.figure import draw_pitch, draw_spectrogram, new_figure
        >>> figure, (axes,) = new_figure(6, 2)
        >>> audio = torch.randn(44100)
        >>> image = draw_spectrogram(axes, tp.stft(audio).abs(), tp.Geometry())
        >>> draw_pitch(axes, tp.track_pitch(audio, 44100))
        >>> len(axes.lines)
        1
    """
    extent = axes.axis()
    height = np.where(track.voiced.cpu().numpy(), track.f0.log2().cpu().numpy(), np.nan)
    axes.plot(track.times.cpu().numpy() + start, height, color=_PITCH, linewidth=1.2)
    axes.axis(extent)


def draw_mask(
    axes: Axes, mask: Tensor, geometry: Geometry, *, start: float = 0.0, highest: float | None = None
) -> Any:
    """A mask in [0, 1] over time and log frequency: dark = accompaniment, light = vocals.

    Args:
        axes: where to draw.
        mask: `(F, N)`.
        geometry: its grid.
        start: time of the first frame, in s.
        highest: upper end of the frequency axis in Hz; by default half the sample rate.

    Returns:
        matplotlib's image, for `colour_bar`.

    Raises:
        ValueError: for a mask that is not of this geometry.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.plots.figure import draw_mask, new_figure
        >>> figure, (axes,) = new_figure(6, 2)
        >>> image = draw_mask(axes, torch.rand(1025, 87), tp.Geometry())
        >>> image.get_clim()
        (0.0, 1.0)
    """
    values = on_log_frequency(mask, geometry, highest=highest)
    duration = mask.shape[1] * geometry.hop_length / geometry.sample_rate
    highest = geometry.sample_rate / 2 if highest is None else highest
    return _draw(axes, values, duration, start, highest, cmap="cividis", vmin=0.0, vmax=1.0)


def colour_bar(axes: Axes, drawn: Any, label: str) -> Any:
    """A slim colour bar with a label, beside the axes that `drawn` is on."""
    bar = axes.figure.colorbar(drawn, ax=axes, pad=0.015, fraction=0.06, aspect=24)
    bar.outline.set_visible(False)
    _dress(bar.ax, _ink(axes))
    bar.set_label(label, color=_ink(axes), fontsize=_TEXT)
    bar.solids.set(rasterized=True, alpha=1)
    return bar


def draw_embedding(
    scatter: Axes,
    histogram: Axes,
    cues: tuple[Tensor, Tensor],
    names: tuple[str, str],
    mask: Tensor,
    *,
    points: int = 2000,
) -> None:
    """Two dimensions of the embedding: points coloured by the ensemble's mask, and their density.

    Args:
        scatter: axes of the points (evenly spaced among the given ones).
        histogram: axes of the density of all of them.
        cues: two tensors `(P,)`, the masks of two primitives at the same P bins.
        names: names of the two, for the axes.
        mask: `(P,)`, the ensemble's mask at these bins.
        points: largest number of points drawn.

    Raises:
        ValueError: for tensors that are not of one length.

    Example:
        >>> import torch
        >>> from torchprim.plots.figure import draw_embedding, new_figure
        >>> figure, axes = new_figure(7, 3, columns=2)
        >>> x, y = torch.rand(2, 5000)
        >>> draw_embedding(*axes, (x, y), ("melody", "hpss"), (x + y) / 2)
        >>> axes[0].get_xlabel()
        'melody'
    """
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    shapes = {tuple(part.shape) for part in (*cues, mask)}
    if len(shapes) != 1 or mask.dim() != 1:
        raise ValueError(f"cues and mask must have one shape (P,), got {sorted(shapes)}")
    x, y, m = (part.detach().float().cpu().numpy() for part in (*cues, mask))
    some = slice(None, None, max(1, math.ceil(len(m) / points)))
    colours = LinearSegmentedColormap.from_list("mask", [BLUE, GREY, ORANGE])
    dots = scatter.scatter(
        x[some], y[some], c=m[some], s=5, alpha=0.6, linewidths=0, cmap=colours, vmin=0, vmax=1
    )
    dots.set_rasterized(True)
    counts, *_ = np.histogram2d(x, y, bins=50, range=((0, 1), (0, 1)))
    grid = histogram.imshow(
        np.maximum(counts.T, 0.5),  # none is the darkest colour, on light and dark pages alike
        origin="lower",
        extent=(0, 1, 0, 1),
        interpolation="none",
        cmap="viridis",
        norm=LogNorm(0.5, max(2, counts.max())),
    )
    for axes in (scatter, histogram):
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal", xlabel=names[0], ylabel=names[1])
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    colour_bar(scatter, dots, "ensemble's mask")
    colour_bar(histogram, grid, "points")


def draw_boxes(axes: Axes, values: Mapping[str, Sequence[float]], label: str) -> None:
    """One horizontal box per method: quartiles, whiskers to 1.5 times their distance, mean as a dot.

    Args:
        axes: where to draw.
        values: finite numbers of each method, by its name; the first is drawn on top.
        label: name and unit of the values.

    Raises:
        ValueError: where there are no methods, or one has no values.

    Example:
        >>> from torchprim.plots.figure import draw_boxes, new_figure
        >>> figure, (axes,) = new_figure(4, 2)
        >>> draw_boxes(axes, {"hpss": [1.0, 2.0, 4.0], "pcl": [3.0, 5.0, 6.0]}, "SD-SDR (dB)")
        >>> axes.get_xlabel()
        'SD-SDR (dB)'
    """
    if not values or not all(len(row) for row in values.values()):
        raise ValueError(f"values must hold numbers for every method, got {dict(values)!r}")
    ink = _ink(axes)
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
