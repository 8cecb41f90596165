"""Progress of long work: a bar on a terminal; elsewhere, as in a log, a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

FIRST, EVERY = 10.0, 30.0  # seconds to the first line, and between lines, where there is no terminal
_LINE = "{desc}: {n_fmt}/{total_fmt} {unit}, {elapsed} gone, {remaining} left{postfix}"


def bar(
    desc: str,
    items: Iterable[Any] | None = None,
    *,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    shows: bool = True,
    leave: bool | None = True,
) -> Any:
    """Show the progress of work on standard error, as a context or as an iterable over `items`.

    On a terminal it is a bar of tqdm. Elsewhere it is a line after 10 s and every 30 s, with no carriage
    return. Where there is nothing to do (a total of 0) nothing is shown.

    Args:
        desc: what is done, in a word.
        items: to iterate over.
        unit: what is counted.
        total: how many there are; by default the number of items.
        initial: how many are done already.
        shows: whether to show anything.
        leave: whether the bar stays when it is done; None: unless it is beside another.

    Returns:
        a `tqdm`, or a `Lines` with the part of its interface that is used here.

    Example:
        >>> from torchprim.progress import bar
        >>> list(bar("count", "abc", unit="letter"))
        ['a', 'b', 'c']
    """
    from tqdm import tqdm

    if total is None and hasattr(items, "__len__"):
        total = len(items)
    empty = total is not None and total <= initial
    settings = {"total": total, "initial": initial, "desc": desc, "unit": unit}
    if shows and not empty and not _is_drawn():
        return Lines(items, **settings)
    return tqdm(
        items, **settings, disable=not shows or empty, leave=leave, dynamic_ncols=True, file=sys.stderr
    )


def _is_drawn() -> bool:
    """Return whether standard error shows a bar that is drawn again and again: a terminal, or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def write(text: str, stream: TextIO) -> None:
    """Print a line clear of the bars."""
    tqdm = sys.modules.get("tqdm")  # there are no bars where it was not imported
    if tqdm is not None and _is_drawn():
        tqdm.tqdm.write(text, file=stream)
    else:
        print(text, file=stream)


class Lines:
    """Progress as lines, in the place of a `tqdm` where there is no terminal; see `bar`."""

    def __init__(self, items: Iterable[Any] | None, total: int | None, initial: int, desc: str, unit: str):
        self.items, self.total, self.initial, self.desc, self.unit = items, total, initial, desc, unit
        self.n, self.postfix = initial, ""
        self._started = time.monotonic()
        self._next = self._started + FIRST

    def __iter__(self) -> Iterator[Any]:
        for item in self.items or ():
            yield item
            self.update()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, count: int = 1) -> None:
        """Count what is done; print a line where it is time for one."""
        self.n += count
        now = time.monotonic()
        if now >= self._next:
            self._next = now + EVERY
            self._print(now - self._started)

    def set_postfix(self, **values: str) -> None:
        """Set what the lines end with."""
        self.postfix = ", ".join(f"{name}={value}" for name, value in values.items())

    def set_description(self, desc: str) -> None:
        """Set what the lines begin with."""
        self.desc = desc

    def close(self) -> None:
        """End it: the work that took long enough for a line is told to be done by whoever did it."""

    def _print(self, elapsed: float) -> None:
        from tqdm import tqdm

        line = tqdm.format_meter(
            self.n,
            self.total,
            elapsed,
            prefix=self.desc,
            unit=self.unit,
            initial=self.initial,
            postfix=self.postfix,
            bar_format=_LINE if self.total else "{desc}: {n_fmt} {unit}, {elapsed} gone{postfix}",
        )
        print(line, file=sys.stderr, flush=True)
