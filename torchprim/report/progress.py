"""The log of a training, as curves, a table and sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torchprim.plots.curves import draw_curve, draw_legend
from torchprim.plots.figure import BLUE, GREEN, ORANGE, PURPLE, new_figure
from torchprim.plots.svg import inline_svg
from torchprim.report.page import Picture, Table

Records = Sequence[dict[str, Any]]
_ROWS = 24  # validations that the table lists, the last ones and the best
_SCORE = "sd_sdr_"  # field of the log: this and the source; of the teacher's it begins with `_TEACHER`
_TEACHER = "teacher_"
_LOSSES = {"loss": "training loss", "validation": "validation loss"}  # as the table calls them
_CURVES = {  # label, colour, and whether validations are marked as points
    "loss": ("training", BLUE, False),
    "validation": ("validation", ORANGE, True),
}
_COLOURS = {"vocals": ORANGE, "accompaniment": BLUE, "drums": BLUE, "bass": GREEN, "other": PURPLE}
_MORE_COLOURS = (BLUE, GREEN, PURPLE, ORANGE)  # of sources of other names, in turn


def _sources(records: Records) -> list[str]:
    """List the sources that a log has scores of, in its order."""
    fields = dict.fromkeys(field for record in records for field in record)
    return [field.removeprefix(_SCORE) for field in fields if field.startswith(_SCORE)]


def checks(records: Records) -> list[dict[str, Any]]:
    """List the validations of a log, each with the mean training loss since the one before.

    Args:
        records: of `log.jsonl`: a step each with its `loss`, a validation each with its `seconds`.

    Example:
        >>> from torchprim.report.progress import checks
        >>> checks([{"step": 1, "loss": 4.0}, {"step": 2, "loss": 2.0}, {"step": 2, "seconds": 9.0}])
        [{'step': 2, 'seconds': 9.0, 'loss': 3.0}]
    """
    found, losses = [], []
    for record in records:
        if "loss" in record:
            losses.append(record["loss"])
        if "seconds" in record:
            mean = {"loss": sum(losses) / len(losses)} if losses else {}
            found.append(record | mean)
            losses = []
    return found


def best_check(found: Records) -> dict[str, Any] | None:
    """Return the validation with the lowest validation loss, or training loss where no song is held out."""
    by = "validation" if any("validation" in check for check in found) else "loss"
    return min((c for c in found if by in c), key=lambda check: check[by], default=None)


def describe(records: Records, steps: int) -> str:
    """Describe in some sentences how a training goes.

    Args:
        records: of its log.
        steps: that it takes.

    Example:
        >>> from torchprim.report.progress import describe
        >>> log = [{"step": n, "seconds": 9.0, "validation": v} for n, v in ((10, 2.0), (20, 1.0), (30, 1.5))]
        >>> describe(log, 40)
        'The validation loss fell from 2.0000 to 1.0000 at step 20, its lowest, and has been higher since.'
    """
    found = checks(records)
    best = best_check(found)
    if best is None:
        return "No validation yet."
    return f"{_describe_loss(found, best, steps)}{_describe_scores(best)}"


def _describe_loss(found: Records, best: dict[str, Any], steps: int) -> str:
    by = "validation" if "validation" in best else "loss"
    what = "validation loss" if by == "validation" else "training loss (no song is held out)"
    compared = [check for check in found if by in check]
    first, last = compared[0], compared[-1]
    if len(compared) == 1:
        return f"The {what} is {best[by]:.4f} at step {best['step']}: one validation shows no trend yet."
    if best is first:
        return (
            f"The {what} has not fallen since its first value, {first[by]:.4f} at step {first['step']}: "
            "the network may not learn; a smaller --rate or more music may help."
        )
    fell = f"The {what} fell from {first[by]:.4f} to {best[by]:.4f} at step {best['step']}, its lowest"
    if best is not last:
        return f"{fell}, and has been higher since."
    return f"{fell}, and the latest{': more --steps may lower it further' if last['step'] >= steps else ''}."


def _describe_scores(best: dict[str, Any]) -> str:
    """Compare the best validation with the teacher, where there are true stems."""
    differences = [
        f"{best[_SCORE + source] - best[_TEACHER + _SCORE + source]:+.2f} dB ({source})"
        for source in _sources([best])
        if _TEACHER + _SCORE + source in best
    ]
    if not differences:
        return ""
    listed = " and ".join(filter(None, [", ".join(differences[:-1]), differences[-1]]))
    return f" Its SD-SDR on the true stems is {listed} against the teacher's."


def progress_table(records: Records) -> Table | None:
    """Return the table of the validations: the last 24, and the best one, which stands out."""
    found = checks(records)
    if not found:
        return None
    sources = _sources(found)
    titles = _LOSSES | {_SCORE + source: f"{source} (dB)" for source in sources}
    titles |= {f"{_TEACHER}{_SCORE}{source}": f"teacher: {source} (dB)" for source in sources}
    names = [name for name in titles if any(name in check for check in found)]
    best = best_check(found)
    listed = [check for check in found[:-_ROWS] if check is best] + found[-_ROWS:]
    rows = [
        (f"step {check['step']}", [check["seconds"] / 60, *(check.get(name) for name in names)])
        for check in listed
    ]
    caption = f"{len(found)} so far; loss, and SD-SDR where there are true stems."
    columns = ("", "minutes", *(titles[name] for name in names))
    bold = set()
    if best and "validation" in best:  # by the training loss, best.pt may be of another step
        bold = {(f"step {best['step']}", column) for column in columns[1:]}
        caption += " The lowest validation loss is in bold: best.pt holds that network."
    return Table("Validations", caption, columns, rows, bold, digits=4)


def draw_progress(records: Records) -> list[Picture]:
    """Draw the loss over steps and, where there are stems to validate on, the SD-SDR."""
    caption = "Of every training step (band: extremes of neighbouring steps) and of the held-out songs."
    pictures = _curves("Loss", "loss", caption, records, _CURVES)
    caption = (
        "Mean SD-SDR in dB of held-out songs with true stems: higher is better. Points: the network; lines "
        "without points: the teacher."
    )
    scores = {}
    for number, source in enumerate(_sources(records)):
        colour = _COLOURS.get(source, _MORE_COLOURS[number % len(_MORE_COLOURS)])
        scores[_SCORE + source] = source, colour, True
        scores[f"{_TEACHER}{_SCORE}{source}"] = f"{source}, teacher", colour, False
    return [*pictures, *_curves("SD-SDR", "sd-sdr", caption, records, scores)]


def _curves(
    title: str, name: str, caption: str, records: Records, fields: dict[str, tuple[str, str, bool]]
) -> list[Picture]:
    points = {field: [(r["step"], r[field]) for r in records if _is_number(r.get(field))] for field in fields}
    if not any(points.values()):
        return []
    figure, (axes,) = new_figure(9.6, 2.6)
    for field, (label, colour, marked) in fields.items():
        if points[field]:
            draw_curve(axes, *zip(*points[field], strict=True), label, colour=colour, marked=marked)
    axes.set_ylabel(title if name == "loss" else f"{title} (dB)")
    draw_legend(axes)
    return [Picture(title, caption, inline_svg(figure, name, f"{title}. {caption}"), True)]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
