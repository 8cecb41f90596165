"""Spectrograms, masks and pitch tracks on a log-frequency axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from torchprim import checks
from torchprim.plots.figure import TEXT_SIZE
from torchprim.plots.log_frequency import LOWEST, on_log_frequency
from torchprim.spectra.stft import Geometry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from torchprim.primitives.pitch.track_pitch import PitchTrack

_PITCH_COLOUR = "#56d4f5"  # light blue stands out from all of `magma`
DYNAMIC_RANGE = 70.0  # dB below the maximum that a spectrogram shows


def _draw(
    axes: Axes,
    values: np.ndarray,
    geometry: Geometry,
    duration: float,
    start: float,
    highest: float | None,
    **style: Any,
) -> Any:
    """Draw the values `(rows, columns)` of `on_log_frequency` with their axes in s and Hz."""
    highest = geometry.sample_rate / 2 if highest is None else highest
    octaves = math.log2(LOWEST), math.log2(highest)
    image = axes.imshow(
        values,
        origin="lower",
        aspect="auto",
        interpolation="none",
        extent=(start, start + duration, *octaves),
        **style,
    )
    ticks = [f for f in (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000) if LOWEST <= f <= highest]
    axes.set_yticks([math.log2(f) for f in ticks], [f"{f // 1000}k" if f >= 1000 else str(f) for f in ticks])
    axes.set_xlabel("Time (s)")
    axes.set_ylabel("Frequency (Hz)")
    return image


def _duration(frames: int, geometry: Geometry) -> float:
    return frames * geometry.hop_length / geometry.sample_rate


def draw_spectrogram(
    axes: Axes,
    magnitude: Tensor,
    geometry: Geometry,
    *,
    start: float = 0.0,
    highest: float | None = None,
    duration: float | None = None,
    loudest: Tensor | None = None,
) -> Any:
    """Draw a power spectrogram in dB below its maximum, over time and log frequency.

    Args:
        axes: to draw on.
        magnitude: `(F, N)`.
        geometry: its STFT grid.
        start: time of the first frame, in s.
        highest: upper end of the frequency axis in Hz; by default half the sample rate.
        duration: of all frames in s, where they are not the grid's, such as means over several.
        loudest: `(F, M)`, a magnitude whose maximum is 0 dB, such as that of a stem's mixture; by default
            this one's.

    Returns:
        matplotlib's image, for `colour_bar`.

    Raises:
        ValueError: for a magnitude that is negative, not finite or not of this geometry.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.plots.time_frequency import draw_spectrogram
        >>> from torchprim.plots.figure import new_figure
        >>> figure, (axes,) = new_figure(6, 2)
        >>> image = draw_spectrogram(axes, tp.stft(torch.randn(44100)).abs(), tp.Geometry())
        >>> axes.get_ylabel()
        'Frequency (Hz)'
    """
    checks.magnitude(magnitude)
    power = on_log_frequency(checks.double(magnitude).square(), geometry, highest=highest)
    peak = power.max()
    if loudest is not None:
        loudest = checks.double(checks.magnitude(loudest))
        peak = on_log_frequency(loudest.square(), geometry, highest=highest).max()
    floor = 10 ** (-DYNAMIC_RANGE / 10)
    level = 10 * np.log10(np.maximum(power / peak if peak > 0 else power, floor))
    style = {"cmap": "magma", "vmin": -DYNAMIC_RANGE, "vmax": 0}
    duration = _duration(magnitude.shape[1], geometry) if duration is None else duration
    return _draw(axes, level, geometry, duration, start, highest, **style)


def draw_pitch(axes: Axes, track: PitchTrack, *, start: float = 0.0, label: str = "") -> None:
    """Draw the pitch of a voice as a line over a spectrogram, in voiced frames.

    Args:
        axes: with a picture of `draw_spectrogram` or `draw_mask`, whose limits do not change.
        track: of one recording, `(N,)`.
        start: time of the track's first frame, in s.
        label: for a legend, which is drawn where there is one.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.plots.time_frequency import draw_pitch, draw_spectrogram
        >>> from torchprim.plots.figure import new_figure
        >>> figure, (axes,) = new_figure(6, 2)
        >>> audio = torch.randn(44100)
        >>> image = draw_spectrogram(axes, tp.stft(audio).abs(), tp.Geometry())
        >>> draw_pitch(axes, tp.track_pitch(audio, 44100))
        >>> len(axes.lines)
        1
    """
    limits = axes.axis()
    octave = np.where(track.voiced.cpu().numpy(), track.f0.log2().cpu().numpy(), np.nan)
    axes.plot(track.times.cpu().numpy() + start, octave, color=_PITCH_COLOUR, linewidth=1.2, label=label)
    axes.axis(limits)
    if label:
        dark = {"facecolor": "#140e36", "edgecolor": "none", "framealpha": 1.0, "labelcolor": "white"}
        above = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.01), "borderaxespad": 0.0}
        axes.legend(fontsize=TEXT_SIZE, **above, **dark)


def draw_mask(
    axes: Axes,
    mask: Tensor,
    geometry: Geometry,
    *,
    start: float = 0.0,
    highest: float | None = None,
    pixels: tuple[int, int] = (192, 900),
) -> Any:
    """Draw a mask in [0, 1] over time and log frequency: dark = accompaniment, light = vocals.

    Args:
        axes: to draw on.
        mask: `(F, N)`.
        geometry: its STFT grid.
        start: time of the first frame, in s.
        highest: upper end of the frequency axis in Hz; by default half the sample rate.
        pixels: over frequency, and at most over time.

    Returns:
        matplotlib's image, for `colour_bar`.

    Raises:
        ValueError: for a mask that is not of this geometry.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.plots.time_frequency import draw_mask
        >>> from torchprim.plots.figure import new_figure
        >>> figure, (axes,) = new_figure(6, 2)
        >>> image = draw_mask(axes, torch.rand(1025, 87), tp.Geometry())
        >>> image.get_clim()
        (0.0, 1.0)
    """
    values = on_log_frequency(mask, geometry, *pixels, highest=highest)
    style = {"cmap": "cividis", "vmin": 0.0, "vmax": 1.0}
    return _draw(axes, values, geometry, _duration(mask.shape[1], geometry), start, highest, **style)
