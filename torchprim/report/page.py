"""The HTML of a report: a self-contained page without scripts, in light and dark mode."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from torchprim.version import __version__

_STYLE = """
:root { color-scheme: light dark; --ink: #202124; --soft: #5f6368; --paper: #fff; --card: #f4f5f7;
  --line: #dadce0; --accent: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #a9aeb4; --paper: #16181b; --card: #202327; --line: #3a3e44;
    --accent: #8ab4f8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .8rem; }
p { margin: .4rem 0; max-width: 46rem; }
.facts, figcaption, footer, .note { color: var(--soft); font-size: .9rem; }
.players { display: grid; gap: .6rem; }
.player { display: grid; grid-template-columns: 9.5rem 1fr; align-items: center; gap: 1rem;
  background: var(--card); border-radius: .6rem; padding: .5rem .9rem; }
.player audio { width: 100%; height: 2.4rem; }
.meters { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: .8rem; }
.meter { background: var(--card); border-radius: .6rem; padding: .7rem .9rem; }
.meter strong { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.meter .bar { display: block; width: 100%; height: .45rem; margin: .45rem 0; }
.meter rect { fill: var(--line); }
.meter rect + rect { fill: var(--accent); }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(27rem, 100%), 1fr));
  gap: 1.4rem; }
figure { margin: 0; min-width: 0; }
figure.wide { grid-column: 1 / -1; overflow-x: auto; }
figure.wide > svg { min-width: 38rem; }
figure > svg { display: block; width: 100%; height: auto; }
figure > svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure > svg text { font-family: inherit !important; }
figcaption b { color: var(--ink); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1.1rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
tbody th { font-weight: 400; }
tr.best th, tr.best td { font-weight: 700; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: .8rem; }
@media (max-width: 34rem) { .player { grid-template-columns: 1fr; gap: .2rem; } }
"""


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
        cells = "".join(f"<td>{'' if value is None else f'{value:.2f}'}</td>" for value in values)
        rows.append(f'<tr{weight}><th scope="row">{_escape(name)}</th>{cells}</tr>')
    return (
        f"<section><h2>{_escape(table.title)}</h2><p>{_escape(table.caption)}</p>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table></div></section>"
    )


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
    """Render the page.

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
    listen = "\n".join(_player(item) for item in players)
    trust = "\n".join(_meter(item) for item in meters)
    look = "\n".join(_picture(item) for item in pictures)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_escape(title)} – torchprim</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<header><h1>{_escape(title)}</h1><p class="facts">{_escape(facts)}</p></header>
<section><h2>Listen</h2><div class="players">
{listen}
</div></section>
<section><h2>How far to trust it</h2><div class="meters">
{trust}
</div></section>
{_table(table) if table else ""}
<section><h2>Look</h2>{f"<p>{_escape(note)}</p>" if note else ""}<div class="pictures">
{look}
</div></section>
<footer>Made by torchprim {__version__}, with no isolated recordings. This page holds everything it shows.
</footer>
</main>
</body>
</html>
"""
