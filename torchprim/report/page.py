"""The HTML of a report: a self-contained page without scripts, its elements and its sections."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torchprim.report.style import STYLE
from torchprim.version import __version__


class Picture(NamedTuple):
    """An SVG element with its title and one sentence that explains it."""

    title: str
    caption: str
    svg: str
    wide: bool = False


class Player(NamedTuple):
    """A title, and the `data:` URL of its audio."""

    title: str
    source: str


class Meter(NamedTuple):
    """A number on a scale from 0 to 1 (below 0 the bar is empty), and its meaning."""

    title: str
    value: float
    meaning: str


class Table(NamedTuple):
    """A heading, a sentence, the names of columns, and rows of name and numbers; one row stands out."""

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float | None]]]
    best: str = ""
    digits: int = 2  # after the point


def _escape(value: str) -> str:
    # An undecodable file name holds lone surrogates, which UTF-8 cannot write.
    return html.escape(value.encode("utf-8", "replace").decode("utf-8"), quote=True)


def _player(item: Player) -> str:
    title = _escape(item.title)
    return (
        f'<div class="player"><span>{title}</span>'
        f'<audio controls preload="metadata" aria-label="{title}" src="{item.source}"></audio></div>'
    )


def _meter(item: Meter) -> str:
    length = 100 * min(1.0, max(0.0, item.value))
    return (
        f'<div class="meter"><span>{_escape(item.title)}</span><strong>{item.value:.3f}</strong>'
        '<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="100" height="4"/><rect width="{length:.1f}" height="4"/></svg>'
        f'<span class="note">{_escape(item.meaning)}</span></div>'
    )


def _picture(item: Picture) -> str:
    width = ' class="wide"' if item.wide else ""
    caption = f"<b>{_escape(item.title)}.</b> {_escape(item.caption)}"
    return f"<figure{width}>{item.svg}<figcaption>{caption}</figcaption></figure>"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_escape(column)}</th>' for column in table.columns)
    rows = []
    for name, values in table.rows:
        weight = ' class="best"' if name == table.best else ""
        cells = "".join(
            f"<td>{'' if value is None else f'{value:.{table.digits}f}'}</td>" for value in values
        )
        rows.append(f'<tr{weight}><th scope="row">{_escape(name)}</th>{cells}</tr>')
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>"
    )


def section(heading: str, body: str, note: str = "") -> str:
    """Return the HTML of a section: a heading, a sentence where there is one, and elements."""
    words = f"<p>{_escape(note)}</p>" if note else ""
    return f"<section><h2>{_escape(heading)}</h2>{words}{body}</section>"


def player_section(heading: str, players: Sequence[Player], note: str = "") -> str:
    """Return the HTML of a section of players."""
    items = "\n".join(_player(item) for item in players)
    return section(heading, f'<div class="players">\n{items}\n</div>', note)


def meter_section(heading: str, meters: Sequence[Meter]) -> str:
    """Return the HTML of a section of meters."""
    items = "\n".join(_meter(item) for item in meters)
    return section(heading, f'<div class="meters">\n{items}\n</div>')


def picture_section(heading: str, pictures: Sequence[Picture], note: str = "") -> str:
    """Return the HTML of a section of pictures."""
    items = "\n".join(_picture(item) for item in pictures)
    return section(heading, f'<div class="pictures">\n{items}\n</div>', note)


def table_section(table: Table) -> str:
    """Return the HTML of a section of one table."""
    return section(table.title, _table(table), table.caption)


def command_section(heading: str, commands: Mapping[str, str]) -> str:
    """Return the HTML of a section of command lines, each with what it does."""
    items = (f"<p>{_escape(k)}</p><pre><code>{_escape(v)}</code></pre>" for k, v in commands.items())
    return section(heading, "\n".join(items))


def settings_section(heading: str, settings: Mapping[str, str]) -> str:
    """Return the HTML of a folded section of names and values."""
    items = "\n".join(f"<div><dt>{_escape(k)}</dt><dd>{_escape(v)}</dd></div>" for k, v in settings.items())
    return f"<details><summary>{_escape(heading)}</summary><dl>\n{items}\n</dl></details>"


def render_document(title: str, facts: str, sections: Sequence[str], how: str = "") -> str:
    """Render a page of sections.

    Args:
        title: of the page.
        facts: one line below the title.
        sections: HTML, of `player_section` and its like, in reading order.
        how: it was made, for the last line.

    Returns:
        HTML, UTF-8, without external resources.

    Example:
        >>> from torchprim.report.page import command_section, render_document
        >>> page = render_document("RUN", "", [command_section("Go on", {"Listen": "play <song>"})])
        >>> "<code>play &lt;song&gt;</code>" in page
        True
    """
    body = "\n".join(sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_escape(title)} – torchprim</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header><h1>{_escape(title)}</h1><p class="facts">{_escape(facts)}</p></header>
{body}
<footer>Made by torchprim {__version__}{how and f", {_escape(how)}"}. This page holds everything it shows.
</footer>
</main>
</body>
</html>
"""


def render_page(
    title: str,
    facts: str,
    players: Sequence[Player],
    meters: Sequence[Meter],
    pictures: Sequence[Picture],
    *,
    note: str = "",
    table: Table | None = None,
) -> str:
    """Render the page of a song.

    Args:
        title: of the song.
        facts: one line below the title.
        players: of mixture and stems.
        meters: confidence and its parts.
        pictures: in reading order.
        note: a sentence above the pictures.
        table: scores, where true stems are known.

    Returns:
        HTML, UTF-8, without external resources.

    Example:
        >>> from torchprim.report.page import Meter, render_page
        >>> page = render_page("A & B", "1 s", [], [Meter("Confidence", 0.5, "even")], [])
        >>> "<h1>A &amp; B</h1>" in page, "http" in page
        (True, False)
    """
    sections = [player_section("Listen", players), meter_section("How far to trust it", meters)]
    sections += [table_section(table)] if table else []
    sections.append(picture_section("Look", pictures, note))
    return render_document(title, facts, sections, "with no isolated recordings")
