"""Names of the stems: a template such as `{song}/{stem}`, filled in for each."""

from __future__ import annotations

import string
import unicodedata
from pathlib import PurePath

from torchprim.cli import UsageError
from torchprim.cli.separate.records import NAME

DEFAULT = "{song}/{stem}"
_FIELDS = ("song", "stem")


def check_template(template: str, one_stem: bool, one_song: bool) -> str:
    """Check a template of the names of stems; return it.

    Args:
        template: with the fields `{song}` and `{stem}`; folders lie in the output folder.
        one_stem: whether one stem is written, and needs no `{stem}`.
        one_song: whether there is one song, which needs no `{song}`.

    Raises:
        UsageError: for an unknown field, one that is missing, or a name that would lie elsewhere.

    Example:
        >>> from torchprim.cli.separate.names import check_template
        >>> check_template("{song} ({stem})", False, False)
        '{song} ({stem})'
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"argument --name: {error}, got {template!r}") from error
    fields = [field for _, field, _, _ in parts if field is not None]
    for _, field, spec, conversion in parts:
        if field is not None and (field not in _FIELDS or spec or conversion):
            raise UsageError(f"argument --name: has no field {{{field}}}; there are {{song}} and {{stem}}")
    needed = [name for name, is_one in (("song", one_song), ("stem", one_stem)) if not is_one]
    for name in needed:
        if name not in fields:
            raise UsageError(f"argument --name: {template!r} has no {{{name}}}: stems would have one name")
    path = PurePath(template)
    if path.is_absolute() or ".." in path.parts or "\0" in template or not path.name:
        raise UsageError(f"argument --name: must name files below --out, got {template!r}")
    if NAME in (part.casefold() for part in path.parts):
        raise UsageError(f"argument --name: {NAME} is the name of the records")
    return template


def stem_path(template: str, song: PurePath, stem: str, suffix: str) -> PurePath:
    """Return the path of a stem, relative to the output folder.

    Raises:
        ValueError: where it would lie outside.

    Example:
        >>> from pathlib import PurePath
        >>> from torchprim.cli.separate.names import stem_path
        >>> str(stem_path("{stem}/{song}", PurePath("album/one"), "vocals", "wav"))
        'vocals/album/one.wav'
    """
    path = PurePath(f"{template.format(song=song.as_posix(), stem=stem)}.{suffix}")
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"its stem {path} would lie outside the output folder")
    return path


def fold(path: PurePath | str) -> str:
    """Normalise a path as file systems do that ignore case and Unicode composition."""
    return unicodedata.normalize("NFC", PurePath(path).as_posix()).casefold()
