"""How a mask was found: the masks of all cues, and two dimensions of their embedding."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from torchprim.ensemble.presets import Preset
from torchprim.plots.embedding import draw_embedding
from torchprim.plots.figure import new_figure
from torchprim.plots.svg import inline_svg
from torchprim.primitives.pitch.track_pitch import PitchTrack
from torchprim.report.page import Picture
from torchprim.report.strips import mask_picture, mixture_caption, spectrogram_picture
from torchprim.separators.base import Separation

_LOUDEST = 0.01  # share of bins in the picture of the embedding, as for the confidence
TITLES = {
    "hpss": "HPSS",
    "long-hpss": "Long-window HPSS",
    "2dft-r": "2DFT-R",
    "2dft-m": "2DFT-M",
    "melody": "Melody",
    "repet-sim": "REPET-SIM",
}
_ABOUT = {
    "hpss": "Timbre: what holds its pitch for a short time is called vocals, what clicks accompaniment.",
    "long-hpss": "Timbre through a long window: a voice moves, sustained instruments stand still.",
    "2dft-r": "Repetition: what does not come back periodically is called vocals.",
    "2dft-m": "Micro-modulation: what lies off the peaks of the spectrogram's 2-D Fourier transform.",
    "melody": "Pitch: the harmonics of the most salient pitch track.",
    "repet-sim": "Repetition: what does not resemble the most similar frames elsewhere.",
}


def _title(cue: str) -> str:
    """Return the title of a cue: its own name where it is not one of the primitives."""
    return TITLES.get(cue, cue)


def chosen_cues(available: Sequence[str], wanted: Sequence[str] | None = None) -> tuple[str, str]:
    """Choose the two cues of the embedding's picture: by default repetition and melody, else the first two.

    An ensemble of one cue has it on both axes.

    Args:
        available: names of the ensemble's primitives.
        wanted: two of these, or None.

    Returns:
        two names.

    Raises:
        ValueError: where `wanted` is not two different names of `available`.

    Example:
        >>> from torchprim.report.pictures import chosen_cues
        >>> chosen_cues(["2dft-r", "2dft-m", "melody", "hpss"])
        ('2dft-r', 'melody')
    """
    if wanted is None:
        usual = [name for name in ("2dft-r", "melody") if name in available]
        rest = [name for name in available if name not in usual]
        wanted = [*usual, *rest][:2]
        if len(wanted) == 1:
            return wanted[0], wanted[0]
    if len(wanted) != 2 or len(set(wanted)) != 2 or not set(wanted) <= set(available):
        raise ValueError(f"cues must be two of {', '.join(available)}, got {','.join(wanted)!r}")
    return wanted[0], wanted[1]


def draw_pictures(
    magnitude: Tensor,
    separation: Separation,
    preset: Preset,
    cues: Sequence[str] | None = None,
    *,
    start: float = 0.0,
    highest: float | None = None,
    pitch: PitchTrack | None = None,
    mixture: bool = True,
) -> list[Picture]:
    """Draw how a mask was found: mixture, ensemble's mask, embedding, and each primitive's mask.

    Args:
        magnitude: of the mixture, `(F, N)`, on the preset's grid.
        separation: with its masks `(F, N)`.
        preset: of the separation.
        cues: two primitives for the embedding; repetition and melody by default.
        start: time of the first frame in s.
        highest: upper end of frequency axes in Hz; by default half the grid's sample rate.
        pitch: of the voice, drawn over the mixture.
        mixture: whether to draw its spectrogram.

    Returns:
        pictures in the order of the page.

    Raises:
        ValueError: for a separation without masks, or unknown cues.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.report.pictures import draw_pictures
        >>> audio = torch.randn(44100)
        >>> separator = tp.PrimitiveSeparator("paper")
        >>> magnitude = tp.Mixture(audio, 44100).magnitude()
        >>> pictures = draw_pictures(magnitude, separator(audio, 44100), separator.preset)
        >>> [picture.title for picture in pictures][:3]
        ['Mixture', 'Mask of the ensemble', 'Embedding']
    """
    if separation.mask is None or not separation.masks:
        raise ValueError("separation must hold its masks (keep_masks=True), got None")
    first, second = chosen_cues(list(separation.masks), cues)
    grid = {"geometry": preset.geometry, "start": start, "highest": highest}

    pictures = []
    if mixture:
        about = mixture_caption(pitch)
        pictures.append(spectrogram_picture("Mixture", "excerpt", magnitude, about, pitch=pitch, **grid))
    used = ", ".join(
        f"{_title(name)} {preset.weights[name]:g}" for name in separation.masks if name in preset.weights
    )
    caption = f"0 = accompaniment, 1 = vocals. Weights: {used}; beta {preset.beta:g}."
    pictures.append(mask_picture("Mask of the ensemble", "ensemble", separation.mask, caption, **grid))
    pictures.append(_embedding(magnitude, separation, first, second))
    for name, mask in separation.masks.items():
        pictures.append(mask_picture(_title(name), name, mask, _ABOUT.get(name, ""), wide=False, **grid))
    return pictures


def _embedding(magnitude: Tensor, separation: Separation, first: str, second: str) -> Picture:
    loudest = magnitude.flatten().topk(max(1, math.ceil(_LOUDEST * magnitude.numel()))).indices
    # In the order of frequency and time, so that the decimated scatter plot covers them evenly.
    loudest = loudest.sort().values
    x, y, ensemble = (
        mask.flatten()[loudest]
        for mask in (separation.masks[first], separation.masks[second], separation.mask)
    )
    figure, (scatter, histogram) = new_figure(8.2, 3.4, columns=2)
    names = _title(first), _title(second)
    draw_embedding(scatter, histogram, (x, y), names, ensemble)
    caption = (
        "Each point is one of the loudest 1 % of time-frequency bins, placed by what two primitives, "
        f"{names[0]} and {names[1]}, say of it. Left: coloured by the ensemble, blue = accompaniment, "
        "orange = vocals. Right: how many points lie where."
    )
    return Picture("Embedding", caption, inline_svg(figure, "embedding", f"Embedding. {caption}"), True)
