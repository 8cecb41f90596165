"""Parser of Triton's intermediate representation, as far as counting needs it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple


class Op(NamedTuple):
    """An operation: its name without dialect, the names of its results, its line, the blocks inside it."""

    name: str
    results: list[str]
    text: str
    regions: list[list[Op]]


def parse(lines: Iterator[str]) -> tuple[list[Op], str]:
    """Parse operations up to the end of a region; return them and the line that ends it."""
    ops: list[Op] = []
    for line in map(str.strip, lines):
        if line.startswith("}"):
            return ops, line
        if line.startswith("^bb"):
            ops.append(Op("block", re.findall(r"(%[\w\-.$]+):", line), line, []))
            continue
        match = re.match(r'(?:(%[\w\-.$:]+) = )?"?([\w]+\.[\w.]+)"?', line)
        if not match:
            continue
        regions: list[list[Op]] = []
        text = line
        while line.endswith("{"):
            region, line = parse(lines)
            regions.append(region)
            text += " " + line
        base, _, count = (match[1] or "").partition(":")
        names = [f"{base}#{i}" for i in range(int(count))] if count else [base] if base else []
        ops.append(Op(match[2].rpartition(".")[2], names, text, regions))
    return ops, ""


def elements_in(text: str) -> int:
    """Return the number of elements of the largest tensor type in a line; 1 for scalars."""
    shapes = re.findall(r"tensor<((?:\d+x)+)", text)
    return max((math.prod(map(int, shape.split("x")[:-1])) for shape in shapes), default=1)
