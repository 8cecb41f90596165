"""Scatter plot and density of the embedding: two masks at the bins of a spectrogram."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from torchprim.plots.figure import BLUE, GREY, ORANGE, colour_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_embedding(
    scatter: Axes,
    histogram: Axes,
    cues: tuple[Tensor, Tensor],
    names: tuple[str, str],
    mask: Tensor,
    *,
    points: int = 2000,
) -> None:
    """Draw two dimensions of the embedding: points coloured by the ensemble's mask, and their density.

    Args:
        scatter: axes of the points (every n-th).
        histogram: axes of the density (of all points).
        cues: two tensors `(P,)`, the masks of two primitives at the same P bins.
        names: of the two primitives, for the axes.
        mask: `(P,)`, the ensemble's mask at these bins.
        points: largest number of points drawn.

    Raises:
        ValueError: for tensors that are not of one length.

    Example:
        >>> import torch
        >>> from torchprim.plots.embedding import draw_embedding
        >>> from torchprim.plots.figure import new_figure
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
    drawn = slice(None, None, max(1, math.ceil(len(m) / points)))
    colours = LinearSegmentedColormap.from_list("mask", [BLUE, GREY, ORANGE])
    dots = scatter.scatter(
        x[drawn], y[drawn], c=m[drawn], s=5, alpha=0.6, linewidths=0, cmap=colours, vmin=0, vmax=1
    )
    dots.set_rasterized(True)
    counts, *_ = np.histogram2d(x, y, bins=50, range=((0, 1), (0, 1)))
    grid = histogram.imshow(
        np.maximum(counts.T, 0.5),  # empty cells in the darkest colour, on light and dark pages alike
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
