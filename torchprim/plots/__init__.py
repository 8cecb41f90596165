"""Plots of spectrograms, masks, pitch tracks, embeddings, curves and scores: matplotlib axes, and SVG."""

from torchprim.plots.boxes import draw_boxes
from torchprim.plots.curves import draw_curve, draw_legend, draw_over_time, draw_shares
from torchprim.plots.embedding import draw_embedding
from torchprim.plots.figure import BLUE, GREY, INK, ORANGE, colour_bar, new_figure
from torchprim.plots.peers import draw_peers
from torchprim.plots.time_frequency import draw_mask, draw_pitch, draw_spectrogram

__all__ = [
    "BLUE",
    "GREY",
    "INK",
    "ORANGE",
    "colour_bar",
    "draw_boxes",
    "draw_curve",
    "draw_embedding",
    "draw_legend",
    "draw_mask",
    "draw_over_time",
    "draw_peers",
    "draw_pitch",
    "draw_shares",
    "draw_spectrogram",
    "new_figure",
]
