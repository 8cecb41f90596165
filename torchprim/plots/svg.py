"""matplotlib figures as inline SVG for an HTML page, in the page's text colour."""

from __future__ import annotations

import base64
import html
import io
import re
from typing import TYPE_CHECKING

from torchprim.plots.figure import INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PNG = re.compile(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")
_COLOURS = 64  # of a colour map: no visible difference, and the file is a third


def _quantize(match: re.Match[str]) -> str:
    """Reduce the colours of an embedded PNG, where that makes it smaller."""
    from PIL import Image  # comes with matplotlib

    raw = base64.b64decode(match.group(1))
    picture = Image.open(io.BytesIO(raw)).convert("RGBA")
    opaque = picture.getextrema()[3][0] == 255
    if opaque:
        # Median cut follows the histogram of colours: the steps of a smooth colour map stay even.
        reduced = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    else:
        reduced = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    small = io.BytesIO()
    reduced.save(small, format="png", optimize=True)
    best = min(raw, small.getvalue(), key=len)
    return "data:image/png;base64," + base64.b64encode(best).decode("ascii")


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """Render a figure as an `<svg>` element that scales with the page and takes its text colour.

    Text stays text, sharp and searchable; `plots.INK` becomes `currentColor`, so that one picture serves dark
    and light pages.

    Args:
        figure: of `plots.new_figure`, in the default ink.
        name: prefix of the identifiers inside, unique in the page.
        description: the `aria-label`, for screen readers.

    Returns:
        the element as a string.

    Example:
        >>> from torchprim.plots.figure import new_figure
        >>> from torchprim.plots.svg import inline_svg
        >>> figure, axes = new_figure(4, 2)
        >>> inline_svg(figure, "empty", "an empty picture")[:4]
        '<svg'
    """
    import matplotlib

    buffer = io.StringIO()
    # A fixed salt: the same figure gives the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "torchprim"}):
        figure.savefig(buffer, format="svg", dpi=144, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = _PNG.sub(_quantize, text)
    text = text.replace(INK, "currentColor").replace("xlink:href", "href")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    box = re.search(r'viewBox="([^"]+)"', text).group(1)
    label = html.escape(description, quote=True)
    opening = f'<svg viewBox="{box}" role="img" aria-label="{label}">'
    return opening + re.sub(r"\n\s*", "\n", text[text.index(">") + 1 :]).strip()
