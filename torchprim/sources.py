"""Names of the sources of a mixture, in the order of their stems and in that of their classes."""

from __future__ import annotations

from collections.abc import Sequence

TWO = ("vocals", "accompaniment")
FOUR = ("drums", "bass", "other", "vocals")  # as in MUSDB18


def check_sources(sources: Sequence[str]) -> tuple[str, ...]:
    """Check names of sources: at least two, all different in any case, and names of files.

    Raises:
        ValueError: for anything else.

    Example:
        >>> from torchprim.sources import check_sources
        >>> check_sources(["strings", "rest"])
        ('strings', 'rest')
    """
    listed = not isinstance(sources, str) and isinstance(sources, Sequence)
    names = tuple(sources) if listed else ()
    ok = all(isinstance(name, str) and name.replace("-", "_").isidentifier() for name in names)
    if len(names) < 2 or not ok or len({name.lower() for name in names}) < len(names):
        raise ValueError(
            f"sources must be two names or more, all different, of letters, digits, - and _, got {sources!r}"
        )
    return names


def class_names(sources: Sequence[str]) -> tuple[str, ...]:
    """Return sources in the order of their classes, which is that of spectra, labels, masks, anchors.

    Of two the first is class 1: there is one mask, and where it is 1, there are vocals. Of more, class k is
    source k.

    Example:
        >>> from torchprim.sources import FOUR, TWO, class_names
        >>> class_names(TWO), class_names(FOUR) == FOUR
        (('accompaniment', 'vocals'), True)
    """
    names = tuple(sources)
    return names[::-1] if len(names) == 2 else names


def silent(source: str) -> str:
    """Say that a source is silent, for a message.

    Example:
        >>> from torchprim.sources import silent
        >>> silent("vocals"), silent("bass")
        ('the vocals are silent', 'the bass is silent')
    """
    return f"the {source} {'are' if source in ('vocals', 'drums') else 'is'} silent"
