"""Pictures over time, of one width and margins, so that they align and a cursor can run over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from torchprim.plots.curves import draw_over_time
from torchprim.plots.figure import colour_bar, new_figure
from torchprim.plots.svg import inline_svg
from torchprim.plots.time_frequency import draw_mask, draw_pitch, draw_spectrogram
from torchprim.primitives.pitch.track_pitch import PitchTrack
from torchprim.report.page import Axis, Picture
from torchprim.spectra.stft import Geometry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEFT, _RIGHT, _BOTTOM, _TOP = 0.55, 0.72, 0.42, 0.08  # margins in inches
_WIDE, _HALF = (192, 900), (160, 460)  # pixels over frequency and time: more cost bytes that nobody sees


def mixture_caption(pitch: PitchTrack | None) -> str:
    """Explain the picture of a mixture, with the pitch of its voice or without."""
    pitched = " Light blue: the pitch of the most salient voice, where it is heard."
    return f"Power over time and frequency.{'' if pitch is None else pitched}"


def spectrogram_picture(
    title: str,
    name: str,
    magnitude: Tensor,
    caption: str,
    *,
    geometry: Geometry,
    start: float = 0.0,
    highest: float | None = None,
    duration: float | None = None,
    loudest: Tensor | None = None,
    pitch: PitchTrack | None = None,
) -> Picture:
    """Draw a spectrogram `(F, N)` over the whole width of the page.

    Args:
        title: of the picture.
        name: prefix of its identifiers, unique in the page.
        magnitude: `(F, N)`.
        caption: one sentence that explains it.
        geometry: its STFT grid.
        start: time of the first frame in s.
        highest: upper end of the frequency axis in Hz; by default half the sample rate.
        duration: of all frames in s; by default that of the grid.
        loudest: `(F, M)`, whose maximum is 0 dB, such as the mixture of a stem; by default this magnitude.
        pitch: of the voice, drawn over it.
    """
    figure, (axes,) = new_figure(9.6, 2.3)
    limits = {"start": start, "highest": highest, "duration": duration, "loudest": loudest}
    image = draw_spectrogram(axes, magnitude, geometry, **limits)
    axis = _align(axes, colour_bar(axes, image, "dB" if loudest is not None else "dB below the loudest"))
    if pitch is not None:
        draw_pitch(axes, pitch, start=start)
    return Picture(title, caption, inline_svg(figure, name, f"{title}. {caption}"), True, axis)


def mask_picture(
    title: str,
    name: str,
    mask: Tensor,
    caption: str,
    *,
    geometry: Geometry,
    start: float = 0.0,
    highest: float | None = None,
    wide: bool = True,
) -> Picture:
    """Draw a mask `(F, N)`; `wide` over the whole width of the page, else half. Args: as above."""
    figure, (axes,) = new_figure(9.6 if wide else 4.7, 2.3 if wide else 2.1)
    grid = {"start": start, "highest": highest, "pixels": _WIDE if wide else _HALF}
    image = draw_mask(axes, mask, geometry, **grid)
    axis = _align(axes, colour_bar(axes, image, "mask"))
    return Picture(title, caption, inline_svg(figure, name, f"{title}. {caption}"), wide, axis)


def curve_picture(
    title: str,
    name: str,
    times: Sequence[float],
    values: Sequence[float],
    *,
    window: float,
    mean: float,
    seconds: float,
) -> Picture:
    """Draw values in [-1, 1] at some times of a song, and the value of the whole, with a caption.

    Args:
        title: of the picture and its axis.
        name: prefix of its identifiers, unique in the page.
        times: in s.
        values: one a time.
        window: that each value is of, in s.
        mean: of the song, a dashed line.
        seconds: duration of the song.
    """
    figure, (axes,) = new_figure(9.6, 1.5)
    draw_over_time(axes, times, values, title, mean=mean, seconds=seconds)
    caption = (
        f"Of {len(times)} windows of {window:.2g} s, each at its middle; dashed: {mean:.2f}, of the whole. "
        "Where it is low, listen closely."
    )
    axis = _align_plain(axes)
    return Picture(title, caption, inline_svg(figure, name, f"{title}. {caption}"), True, axis)


def _align_plain(axes: Axes) -> Axis:
    """Set fixed margins, so that the time axes of stacked pictures align; return where the axis lies."""
    figure = axes.figure
    width, height = figure.get_size_inches()
    figure.set_layout_engine("none")
    left, right = _LEFT / width, 1 - _RIGHT / width
    top, bottom = _TOP / height, 1 - _BOTTOM / height
    axes.set_position((left, 1 - bottom, right - left, bottom - top))
    return Axis(*axes.get_xlim(), left, right, top, bottom)


def _align(axes: Axes, bar: Any) -> Axis:
    """Set fixed margins with a colour bar in the right one."""
    axis = _align_plain(axes)
    width, _ = axes.figure.get_size_inches()
    place = axes.get_position()
    bar.ax.set_box_aspect(None)
    bar.ax.set_position((1 - (_RIGHT - 0.08) / width, place.y0, 0.1 / width, place.height))
    return axis
