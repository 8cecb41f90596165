"""Plots of spectrograms, masks, pitch tracks, embeddings and scores on matplotlib axes, and as SVG."""

from torchprim.plots.boxes import draw_boxes
from torchprim.plots.embedding import draw_embedding
from torchprim.plots.figure import BLUE, GREY, INK, ORANGE, colour_bar, new_figure
from torchprim.plots.time_frequency import draw_mask, draw_pitch, draw_spectrogram

__all__ = [
    "BLUE",
    "GREY",
    "INK",
    "ORANGE",
    "colour_bar",
    "draw_boxes",
    "draw_embedding",
    "draw_mask",
    "draw_pitch",
    "draw_spectrogram",
    "new_figure",
]
