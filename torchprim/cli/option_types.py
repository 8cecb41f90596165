"""Values of options, numbers and presets of primitives, where argparse names option and value."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from torchprim.sources import FOUR, TWO, check_sources

# As in ensemble/presets.py, which imports torch: help must not wait for that. A test compares.
PRESETS = ("best", "paper", "companion")
PRESET_NAMES = f"{', '.join(PRESETS)}, FILE.toml, or package.module:name or FILE.py:name"


def preset(text: str) -> str:
    """Check the name of a preset, as a type of argparse; what a file or module holds is read later.

    Example:
        >>> from torchprim.cli.option_types import preset
        >>> preset("best"), preset("mine.toml"), preset("my_cues.py:stereo")
        ('best', 'mine.toml', 'my_cues.py:stereo')
        >>> preset("beast")
        Traceback (most recent call last):
        argparse.ArgumentTypeError: must be best, paper, companion, FILE.toml, or package.module:name or \
FILE.py:name, got 'beast'
    """
    if text not in PRESETS and not text.endswith(".toml") and ":" not in text:
        raise argparse.ArgumentTypeError(f"must be {PRESET_NAMES}, got {text!r}")
    return text


def any_preset(text: str) -> str:
    """Check the name of a preset of two sources, or of a `StemPreset`: `four` is one.

    Example:
        >>> from torchprim.cli.option_types import any_preset
        >>> any_preset("four"), any_preset("paper")
        ('four', 'paper')
    """
    return text if text == "four" else preset(text)


def sources(text: str) -> tuple[str, ...]:
    """Convert the names of sources, as a type of argparse: `two`, `four`, or a list.

    Example:
        >>> from torchprim.cli.option_types import sources
        >>> sources("two"), sources("strings, rest")
        (('vocals', 'accompaniment'), ('strings', 'rest'))
        >>> sources("vocals")
        Traceback (most recent call last):
        argparse.ArgumentTypeError: must be two, four, or two names or more, all different, of letters, \
digits, - and _, got 'vocals'
    """
    named = {"two": TWO, "four": FOUR}
    try:
        return named.get(text) or check_sources([name.strip() for name in text.split(",")])
    except ValueError:
        expected = "two, four, or two names or more, all different, of letters, digits, - and _"
        raise argparse.ArgumentTypeError(f"must be {expected}, got {text!r}") from None


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
