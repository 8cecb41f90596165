"""Values of options: numbers, where argparse names option and value, and the presets of primitives."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

# As in ensemble/presets.py, which imports torch: help must not wait for that. A test compares.
PRESETS = ("best", "paper", "companion")


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a type of argparse: a whole number in [low, high].

    Example:
        >>> from torchprim.cli.option_types import whole_number
        >>> whole_number(1, 8)("4")
        4
        >>> whole_number(1, 8)("0")
        Traceback (most recent call last):
        argparse.ArgumentTypeError: must be a whole number in [1, 8], got '0'
    """

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number in [{low}, {high}], got {text!r}")
        return value

    return convert


def number(text: str) -> float:
    """Convert the text of an option to a finite number, as a type of argparse.

    Example:
        >>> from torchprim.cli.option_types import number
        >>> number("-2.5")
        -2.5
        >>> number("nan")
        Traceback (most recent call last):
        argparse.ArgumentTypeError: must be a finite number, got 'nan'
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {text!r}")
    return value


threads = whole_number(1, 1024)  # far more than there are cores end a process without a message
seed = whole_number(0, 2**63 - 1)
count = whole_number(1, 2**31 - 1)
