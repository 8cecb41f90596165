"""What a confidence means: its place among 40 songs with true stems, and how well these were separated."""

from __future__ import annotations

import csv
import statistics
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from torchprim.plots.figure import new_figure
from torchprim.plots.peers import draw_peers
from torchprim.plots.svg import inline_svg
from torchprim.report.page import Picture

NEAREST = 10  # songs that an expectation is made of
FILE = "previews.csv"  # in this folder; written by `python -m benchmarks previews`
COLUMNS = ("preset", "confidence", "vocals", "accompaniment")


class Reference(NamedTuple):
    """Confidence and SD-SDR in dB of songs, separated with one preset; one number a song."""

    confidence: list[float]
    vocals: list[float]
    accompaniment: list[float]


@cache
def reference(preset: str) -> Reference | None:
    """Return what was measured on the previews with a preset; None where nothing was.

    The previews are 40 songs of the training set of MUSDB18, 7 s each, stereo; SD-SDR is that of the mean of
    the channels.

    Args:
        preset: by name.

    Example:
        >>> from torchprim.report.reference import reference
        >>> len(reference("best").confidence), reference("of my own")
        (40, None)
    """
    text = files("torchprim.report").joinpath(FILE).read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if row["preset"] == preset]
    return Reference(*([float(row[name]) for row in rows] for name in COLUMNS[1:])) if rows else None


def rank(known: Reference, confidence: float) -> int:
    """Count the songs whose confidence is lower.

    Example:
        >>> from torchprim.report.reference import Reference, rank
        >>> rank(Reference([0.1, 0.3, 0.5], [1, 2, 3], [5, 6, 7]), 0.4)
        2
    """
    return sum(other < confidence for other in known.confidence)


def describe(known: Reference, confidence: float, count: int = NEAREST) -> str:
    """Describe where a confidence stands among the songs, and what the nearest of them scored.

    Args:
        known: of the same preset.
        confidence: of the song.
        count: number of the nearest songs.

    Example:
        >>> from torchprim.report.reference import Reference, describe
        >>> print(describe(Reference([0.1, 0.3, 0.5], [1, 2, 3], [5, 6, 7]), 0.4, 1).split(": ")[0])
        A confidence of 0.40 is higher than that of 2 of 3 previews whose true stems are known
    """
    order = sorted(range(len(known.confidence)), key=lambda i: abs(known.confidence[i] - confidence))
    nearest = order[:count]

    def spread(values: list[float]) -> str:
        chosen = sorted(values[i] for i in nearest)
        if len(chosen) < 4:
            return f"{statistics.median(chosen):.1f} dB"
        low, middle, high = statistics.quantiles(chosen, n=4, method="inclusive")
        return f"{middle:.1f} dB (half of them {low:.1f} to {high:.1f})"

    vocals, accompaniment = spread(known.vocals), spread(known.accompaniment)
    return (
        f"A confidence of {confidence:.2f} is higher than that of {rank(known, confidence)} of "
        f"{len(known.confidence)} previews whose true stems are known: the {len(nearest)} of them with the "
        f"nearest confidence were separated with a median SD-SDR of {vocals} for the vocals and "
        f"{accompaniment} for the accompaniment."
    ).replace(" -", " \N{MINUS SIGN}")


def reference_picture(known: Reference, confidence: float) -> Picture:
    """Draw the scores of the previews over their confidence, and where this song stands."""
    figure, (axes,) = new_figure(9.6, 2.5)
    scores = {"vocals": known.vocals, "accompaniment": known.accompaniment}
    draw_peers(axes, known.confidence, scores, confidence, "Confidence")
    caption = (
        f"Each of {len(known.confidence)} previews, 7 s of a song of MUSDB18, is two dots. SD-SDR compares a "
        "stem with the true one: at 0 dB the error is as loud as the stem, and each 6 dB more halve it."
    )
    svg = inline_svg(figure, "previews", f"Previews. {caption}")
    return Picture("What such a confidence was worth", caption, svg, True)
