"""What one launch reads, writes and computes, counted in Triton's intermediate representation.

Loops run as often as the launch's arguments make them, in the middle program of the grid; a condition that
depends on data is taken to hold, both branches of such an `if` are counted, and masks hold everywhere: the
counts are upper bounds.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.predict.ttir import Op, elements_in, parse

_DIVISIONS = ("divsi", "remsi", "divui", "remui")
_FREE = (
    "splat", "broadcast", "expand_dims", "reshape", "make_range", "bitcast", "constant", "split", "join",
    "trans", "unsplat", "cat", "get_program_id", "get_num_programs", "extsi", "extui", "trunci", "truncf",
    "extf", "dot",
)  # fmt: skip
_SPECIAL = ("sqrt", "rsqrt", "exp", "exp2", "log", "log2", "sin", "cos", "erf")
# Warp instructions an operation takes for 32 elements, where it is not one. Guessed from SASS.
COST = {
    **dict.fromkeys(_FREE, 0),
    **dict.fromkeys(_DIVISIONS, 16),
    **dict.fromkeys(_SPECIAL, 4),
    **dict.fromkeys(("precise_divf", "precise_sqrt"), 9),
    "divf": 6,
    **dict.fromkeys(("load", "store"), 0.5),  # four numbers in one
    **dict.fromkeys(("reduce", "scan", "gather"), 2),
}
# Clocks that a program waits: at a barrier, for it and for the first load of shared memory after it. Waits
# for global memory are not counted: a loop whose every pass waits for the second-level cache takes longer.
_LATENCY = {"reduce": 60, "barrier": 55, "scan": 60, "gather": 40, "dot": 60}
_MOST_TRIPS = 4096
SECTOR = 32  # bytes of memory that an element of a gather takes


class Counted(NamedTuple):
    """Counts of one program of a launch.

    Args:
        loaded: index of an argument -> elements loaded, and those of them that are gathered.
        stored: the same of stores.
        instructions: of all warps.
        flops: of matrix products.
        waits: clocks that the program waits for its own results, between its warps or for one another.
    """

    loaded: dict[int, list[float]]
    stored: dict[int, list[float]]
    instructions: float
    flops: float
    waits: float


class _Value(NamedTuple):
    """What is known of a value: its number, the argument that it points into, whether it is a gather's."""

    number: float | bool | None = None  # of a pointer: the elements that it is past its argument
    argument: int | None = None
    data: bool = False  # whether its elements depend on loaded ones


_ARITHMETIC: dict[str, Callable] = {
    "addi": lambda a, b: a + b,
    "addptr": lambda a, b: a + b,
    "subi": lambda a, b: a - b,
    "muli": lambda a, b: a * b,
    "divsi": lambda a, b: math.trunc(a / b) if b else 0,
    "remsi": lambda a, b: math.fmod(a, b) if b else 0,
    "minsi": min,
    "maxsi": max,
    "shli": lambda a, b: int(a) << int(b),
    "shrsi": lambda a, b: int(a) >> int(b),
}
_COMPARISONS: dict[str, Callable] = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}


class _Counter:
    """Walk through the operations of a kernel, with what is known of each value."""

    def __init__(self, arguments: list[Any], grid: tuple[int, int, int], warps: int) -> None:
        self.arguments, self.grid, self.warps = arguments, grid, warps
        self.values: dict[str, _Value] = {}
        self.loaded: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.stored: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.instructions = self.flops = self.waits = 0.0

    def value(self, name: str) -> _Value:
        return self.values.get(name, _Value())

    def operands(self, text: str) -> list[_Value]:
        """Look up what an operation reads, in order."""
        text = text.partition(" = ")[2] if re.match(r"%[\w\-.$:]+ = ", text) else text
        return [self.value(name) for name in re.findall(r"%[\w\-.$]+(?:#\d+)?", text)]

    def block(self, ops: list[Op], times: float) -> list[_Value]:
        """Count the operations of a block; return what it yields."""
        yielded: list[_Value] = []
        for op in ops:
            if op.name in ("yield", "condition"):
                yielded = self.operands(op.text)
            elif op.name == "for":
                self.loop(op, times)
            elif op.name == "while":
                self.repeat(op, times)
            elif op.name == "if":
                self.branch(op, times)
            elif op.name not in ("block", "return", "func", "module"):
                self.operation(op, times)
        return yielded

    def loop(self, op: Op, times: float) -> None:
        head = re.search(r"(%[\w\-.$]+) = (%\S+) to (%\S+) step (%\S+)", op.text)
        low, high, step = (self.value(name).number for name in head.groups()[1:])
        known = None not in (low, high, step) and step
        trips = max(0, math.ceil((high - low) / step)) if known else 1
        self.values[head[1]] = _Value(low + step * (trips // 2) if known else None)
        carried = re.search(r"iter_args\((.*?)\) ->", op.text)
        pairs = re.findall(r"(%[\w\-.$]+) = (%[\w\-.$#]+)", carried[1]) if carried else []
        starts = [self.value(start) for _, start in pairs]
        for (name, _), start in zip(pairs, starts, strict=True):
            self.values[name] = start._replace(number=None)
        yielded = self.block(op.regions[0], times * trips)
        for name, start, end in zip(op.results, starts, yielded, strict=False):
            self.values[name] = _Value(None, start.argument, start.data or end.data)

    def repeat(self, op: Op, times: float) -> None:
        """Count a `while`, as long as what is known of its condition holds."""
        pairs = re.findall(r"(%[\w\-.$]+) = (%[\w\-.$#]+)", op.text.partition(") :")[0].partition("while")[2])
        current = [self.value(start) for _, start in pairs]
        for _ in range(_MOST_TRIPS):
            for (name, _), value in zip(pairs, current, strict=True):
                self.values[name] = value
            condition, *current = self.block(op.regions[0], times)
            if condition.number is False:
                break
            for name, value in zip(op.regions[1][0].results, current, strict=True):
                self.values[name] = value
            current = self.block(op.regions[1][1:], times)
        for name, value in zip(op.results, current, strict=True):
            self.values[name] = value._replace(number=None)

    def branch(self, op: Op, times: float) -> None:
        condition = self.operands(op.text)[0].number
        chosen = op.regions if condition is None else op.regions[:1] if condition else op.regions[1:]
        for region in chosen:
            for name, value in zip(op.results, self.block(region, times), strict=False):
                self.values[name] = value if condition is not None else value._replace(number=None)

    def operation(self, op: Op, times: float) -> None:
        operands, elements = self.operands(op.text), elements_in(op.text)
        if op.name in ("load", "store", "atomic_rmw"):
            pointer = operands[0]
            for counts in ([self.loaded] if op.name != "store" else []) + [self.stored] * (op.name != "load"):
                if pointer.argument is not None:
                    counts[pointer.argument][0] += times * elements
                    counts[pointer.argument][1] += times * elements * pointer.data
        elif op.name == "dot":
            m, k, n = (
                int(x) for x in re.search(r"tensor<(\d+)x(\d+)x\w+> \* tensor<\d+x(\d+)x", op.text).groups()
            )
            self.flops += times * 2 * m * n * k
        each = max(elements / 32, self.warps) if elements > 1 else self.warps
        cost = COST.get(op.name, 1)
        if op.name in _DIVISIONS and operands[1].number is not None:
            cost = 3  # by a constant: a product and a shift
        self.instructions += times * cost * each
        self.waits += times * _LATENCY.get(op.name, 0)
        if op.results:
            self.values[op.results[0]] = self.result(op, operands, elements)
            for name in op.results[1:]:
                self.values[name] = self.values[op.results[0]]

    def result(self, op: Op, operands: list[_Value], elements: int) -> _Value:
        argument = next((x.argument for x in operands if x.argument is not None), None)
        data = any(x.data for x in operands)
        if op.name in ("load", "atomic_rmw"):
            return _Value(self.known(operands[0]) if elements == 1 else None, data=elements > 1)
        scalar = elements == 1 or op.name == "constant"
        return _Value(self.number(op, [x.number for x in operands]) if scalar else None, argument, data)

    def known(self, pointer: _Value) -> float | None:
        """Load a number of a small table that was made on the host."""
        table = None if pointer.argument is None else getattr(self.arguments[pointer.argument], "known", None)
        if table is None or pointer.number is None or not 0 <= pointer.number < table.numel():
            return None
        return table.flatten()[int(pointer.number)].item()

    def number(self, op: Op, numbers: list) -> float | bool | None:
        """Compute a scalar as far as it is known; False and unknown is False."""
        if op.name == "constant":
            text = re.search(r"constant (?:dense<)?([^\s>]+)", op.text)[1]
            return text == "true" if text in ("true", "false") else _number(text)
        if op.name in ("get_program_id", "get_num_programs"):
            axis = "xyz".index(re.search(r" ([xyz]) :", op.text)[1])
            return self.grid[axis] // 2 if op.name == "get_program_id" else self.grid[axis]
        if op.name == "andi" and False in [x for x in numbers if isinstance(x, bool)]:
            return False
        if op.name == "ori" and True in [x for x in numbers if isinstance(x, bool)]:
            return True
        if not numbers or any(x is None for x in numbers):
            return None
        if op.name in ("andi", "ori", "xori"):
            a, b = (int(x) for x in numbers)
            both = {"andi": a & b, "ori": a | b, "xori": a ^ b}[op.name]
            return bool(both) if all(isinstance(x, bool) for x in numbers) else both
        if op.name in ("cmpi", "cmpf"):
            kind = re.search(r"cmp[if] [ou]?[su]?(\w\w),", op.text)
            return _COMPARISONS[kind[1]](*numbers) if kind else None
        if op.name == "select":
            return numbers[1] if numbers[0] else numbers[2]
        if op.name in ("extsi", "trunci", "extui"):
            return int(numbers[0])
        return _ARITHMETIC[op.name](*numbers) if op.name in _ARITHMETIC else None


def _number(text: str) -> float | None:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:  # of a tensor
        return None


def count(ttir: str, arguments: list[Any], grid: tuple[int, int, int], warps: int) -> Counted:
    """Count one program of a launch.

    Args:
        ttir: from `launches.to_ttir`.
        arguments: of the compiled function, in order; numbers decide how often loops run.
        grid: of the launch.
        warps: of a program.
    """
    counter = _Counter(arguments, grid, warps)
    lines = ttir.splitlines()
    start = next(i for i, line in enumerate(lines) if "tt.func" in line)
    names = re.findall(r"(%[\w\-.$]+):", lines[start])
    for index, (name, value) in enumerate(zip(names, arguments, strict=True)):
        number = value if isinstance(value, int) else 0 if hasattr(value, "shape") else None
        counter.values[name] = _Value(number, index if hasattr(value, "shape") else None)
    counter.block(parse(iter(lines[start + 1 :]))[0], 1.0)
    results = dict(counter.loaded), dict(counter.stored)
    return Counted(*results, counter.instructions, counter.flops, counter.waits)
