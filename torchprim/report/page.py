"""The HTML of a report: a self-contained page, its elements and its sections."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from torchprim.report.markup import escaped
from torchprim.report.style import STYLE
from torchprim.report.transport import script
from torchprim.version import __version__


class Axis(NamedTuple):
    """The time axis of a picture: its ends in s, and where it lies, in shares of the picture's size."""

    start: float
    stop: float
    left: float
    right: float
    top: float
    bottom: float


class Picture(NamedTuple):
    """An SVG element with its title, a sentence that explains it, and its time axis where it has one."""

    title: str
    caption: str
    svg: str
    wide: bool = False
    axis: Axis | None = None


class Meter(NamedTuple):
    """A number on a scale from `low` to 1, its meaning, and marks: the same number of other songs."""

    title: str
    value: float
    meaning: str
    low: float = 0.0
    marks: Sequence[float] = ()


class Table(NamedTuple):
    """A heading, a sentence, names of columns, rows of name and numbers, bold cells (row, column), notes."""

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float | None]]]
    bold: Collection[tuple[str, str]] = ()
    digits: int = 2  # after the point
    notes: Sequence[str] = ()


def highest(
    rows: Sequence[tuple[str, Sequence[float | None]]],
    columns: Sequence[str],
    among: Collection[str],
    without: Collection[str] = (),
) -> set[tuple[str, str]]:
    """Find the cells with the highest number of a column, for `Table.bold`.

    Args:
        rows: name and numbers.
        columns: names, the first of which is that of the rows' names.
        among: columns in which more is better.
        without: rows that do not compete, such as an oracle.

    Example:
        >>> from torchprim.report.page import highest
        >>> rows = [("a", [1.0, 5.0]), ("b", [2.0, 4.0]), ("oracle", [9.0, 9.0])]
        >>> sorted(highest(rows, ("", "x", "y"), {"x", "y"}, {"oracle"}))
        [('a', 'y'), ('b', 'x')]
    """
    found = set()
    for index, column in enumerate(columns[1:]):
        values = {name: row[index] for name, row in rows if name not in without and row[index] is not None}
        if column in among and values:
            found |= {(name, column) for name, value in values.items() if value == max(values.values())}
    return found


def _meter(item: Meter) -> str:
    def place(value: float) -> float:
        return 100 * min(1.0, max(0.0, (value - item.low) / (1 - item.low)))

    zero, end = place(0.0), place(item.value)
    left, length = min(zero, end), abs(end - zero)
    marks = "".join(f'<path class="mark" d="M{place(mark):.2f} 5v3"/>' for mark in item.marks)
    tick = f'<path class="zero" d="M{zero:.2f} 0v4"/>' if item.low < 0 else ""
    return (
        f'<div class="meter"><span>{escaped(item.title)}</span><strong>{_number(item.value, 3)}</strong>'
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="100" height="4"/><rect x="{left:.1f}" width="{length:.1f}" height="4"/>{tick}{marks}'
        f'</svg><span class="ends" aria-hidden="true"><i>{_number(item.low, 0)}</i><i>1</i></span>'
        f'<span class="note">{escaped(item.meaning)}</span></div>'
    )


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _picture(item: Picture) -> str:
    width = ' class="wide"' if item.wide else ""
    caption = f"<b>{escaped(item.title)}.</b> {escaped(item.caption)}"
    names = ("from", "to", "left", "right", "top", "bottom")
    axis = "".join(f' data-{name}="{value:.5f}"' for name, value in zip(names, item.axis or (), strict=False))
    return (
        f'<figure{width}><div class="plot"{axis}>{item.svg}</div><figcaption>{caption}</figcaption></figure>'
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escaped(column)}</th>' for column in table.columns)
    rows = []
    for name, values in table.rows:
        cells = []
        for column, value in zip(table.columns[1:], values, strict=True):
            text = "" if value is None else _number(value, table.digits)
            cells.append(f"<td>{f'<b>{text}</b>' if (name, column) in table.bold else text}</td>")
        rows.append(f'<tr><th scope="row">{escaped(name)}</th>{"".join(cells)}</tr>')
    notes = "".join(f'<p class="note">{escaped(note)}</p>' for note in table.notes)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>{notes}"
    )


def section(heading: str, body: str, note: str = "") -> str:
    """Return the HTML of a section: a heading, a sentence where there is one, and elements."""
    words = f"<p>{escaped(note)}</p>" if note else ""
    return f"<section><h2>{escaped(heading)}</h2>{words}{body}</section>"


def meter_section(
    heading: str, meters: Sequence[Meter], note: str = "", pictures: Sequence[Picture] = ()
) -> str:
    """Return the HTML of a section of meters, with pictures below them."""
    items = "\n".join(_meter(item) for item in meters)
    drawn = "\n".join(_picture(item) for item in pictures)
    below = f'<div class="pictures">\n{drawn}\n</div>' if drawn else ""
    return section(heading, f'<div class="meters">\n{items}\n</div>{below}', note)


def picture_section(heading: str, pictures: Sequence[Picture], note: str = "") -> str:
    """Return the HTML of a section of pictures."""
    items = "\n".join(_picture(item) for item in pictures)
    return section(heading, f'<div class="pictures">\n{items}\n</div>', note)


def table_section(table: Table) -> str:
    """Return the HTML of a section of one table."""
    return section(table.title, _table(table), table.caption)


def command_section(heading: str, commands: Mapping[str, str]) -> str:
    """Return the HTML of a section of command lines, each with what it does."""
    items = (f"<p>{escaped(k)}</p><pre><code>{escaped(v)}</code></pre>" for k, v in commands.items())
    return section(heading, "\n".join(items))


def settings_section(heading: str, settings: Mapping[str, str]) -> str:
    """Return the HTML of a folded section of names and values."""
    items = "\n".join(f"<div><dt>{escaped(k)}</dt><dd>{escaped(v)}</dd></div>" for k, v in settings.items())
    return f"<details><summary>{escaped(heading)}</summary><dl>\n{items}\n</dl></details>"


def render_document(title: str, facts: str, sections: Sequence[str], how: str = "") -> str:
    """Render a page of sections.

    Args:
        title: of the page.
        facts: one line below the title.
        sections: HTML, of `transport_section` and its like, in reading order.
        how: it was made, for the last line.

    Returns:
        HTML, UTF-8, without external resources; with a script where there is a transport.

    Example:
        >>> from torchprim.report.page import command_section, render_document
        >>> page = render_document("RUN", "", [command_section("Go on", {"Listen": "play <song>"})])
        >>> "<code>play &lt;song&gt;</code>" in page
        True
    """
    body = "\n".join(sections)
    code = script() if 'class="transport"' in body else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(title)} – torchprim</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header><h1>{escaped(title)}</h1><p class="facts">{escaped(facts)}</p></header>
{body}
<footer>Made by torchprim {__version__}{how and f", {escaped(how)}"}. This page holds everything it shows.
</footer>
</main>
{code}</body>
</html>
"""
