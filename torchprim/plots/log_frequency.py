"""Spectrograms resampled to a log-frequency axis, for pictures."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from torchprim import checks
from torchprim.spectra.stft import Geometry

LOWEST = 40.0  # Hz, lower end of the frequency axis


def _average(values: np.ndarray, edges: np.ndarray, axis: int) -> np.ndarray:
    """Average along `axis` between edges at fractional indices; a sample spans its index ± 1/2."""
    values = np.moveaxis(values, axis, -1)
    count = values.shape[-1]
    total = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, -1, dtype=np.float64)], -1)
    position = np.clip(edges + 0.5, 0, count)
    left = np.minimum(position.astype(int), count - 1)
    integral = total[..., left] + (position - left) * (total[..., left + 1] - total[..., left])
    mean = np.diff(integral, axis=-1) / np.maximum(np.diff(position), 1e-9)
    return np.moveaxis(mean, -1, axis)


def on_log_frequency(
    picture: Tensor, geometry: Geometry, rows: int = 192, columns: int = 900, *, highest: float | None = None
) -> np.ndarray:
    """Average a spectrogram or mask over bands of equal width in octaves, lowest band first.

    Args:
        picture: `(F, N)`, real.
        geometry: the grid of the picture.
        rows: number of bands, from 40 Hz up.
        columns: largest number of columns; frames are averaged where there are more.
        highest: upper end in Hz; by default half the sample rate.

    Returns:
        NumPy array `(rows, min(N, columns))`, float64.

    Raises:
        ValueError: for a picture that is not `(F, N)` with the geometry's F, or an end out of range.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.plots.log_frequency import on_log_frequency
        >>> on_log_frequency(torch.ones(1025, 3), tp.Geometry(), rows=4).round(6).tolist()[0]
        [1.0, 1.0, 1.0]
    """
    checks.real(picture, "picture", 2, "(F, N)")
    if picture.dim() != 2 or picture.shape[0] != geometry.bins:
        raise ValueError(f"picture must have shape ({geometry.bins}, N), got {tuple(picture.shape)}")
    highest = geometry.sample_rate / 2 if highest is None else highest
    if not LOWEST < highest <= geometry.sample_rate / 2:
        raise ValueError(f"highest must lie in ({LOWEST}, {geometry.sample_rate / 2}] Hz, got {highest!r}")
    values = picture.detach().cpu().double().numpy()
    frames = values.shape[1]
    if frames > columns:
        values = _average(values, np.linspace(-0.5, frames - 0.5, columns + 1), axis=1)
    return _average(values, np.geomspace(LOWEST, highest, rows + 1) / geometry.bin_width, axis=0)
