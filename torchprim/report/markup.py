"""Text inside HTML."""

from __future__ import annotations

import html


def escaped(text: str) -> str:
    """Escape text for an element or a quoted attribute of a page in UTF-8.

    Example:
        >>> from torchprim.report.markup import escaped
        >>> escaped('"A" & B')
        '&quot;A&quot; &amp; B'
    """
    # An undecodable file name holds lone surrogates, which UTF-8 cannot write.
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"), quote=True)
