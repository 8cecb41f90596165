"""Tables in Markdown, and numbers in their cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torchprim.evaluation.statistics import Interval


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table: the first column aligned to the left, the others to the right.

    Example:
        >>> from torchprim.evaluation.markdown import table
        >>> print(table(["method", "dB"], [["pcl", "5.00"]]))
        | method | dB |
        |---|---:|
        | pcl | 5.00 |
    """
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def number(value: float, sign: bool = False) -> str:
    """Format dB with two decimals; nan as a dash, and above 100 dB, where rounding decides, as `> 100`.

    Example:
        >>> from torchprim.evaluation.markdown import number
        >>> number(1.234), number(1.234, sign=True), number(float("nan"))
        ('1.23', '+1.23', '-')
    """
    if math.isnan(value):
        return "-"
    return f"{value:{'+' if sign else ''}.2f}" if value <= 100 else "> 100"


def interval(estimate: Interval, sign: bool = False) -> str:
    """Format an estimate with its interval in brackets, where there is one."""
    value, low, high = (number(x, sign) for x in estimate)
    return value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"
