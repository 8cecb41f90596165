"""Networks of minima and maxima that select one rank of several overlapping windows.

A tile of T neighbouring outputs with windows of k samples reads k + T - 1 samples. What all T windows
share (k - T + 1 samples, the core) is sorted once; then the tile is halved, each half sorts the few
samples that all of its windows share besides, merges them in, and drops all candidates that can no
longer have the rank in question (forgetful selection), until one window is left. Sorting and merging are
Batcher's odd-even networks for any lengths (Knuth, The Art of Computer Programming 3, 5.3.4); equal
operations are shared and unused ones removed. For k = 31 and T = 8 this leaves about 42 operations an
output, against 274 for windows selected one by one.

A network is plain data, so that a loop over tensors and a generated GPU kernel can run the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Network:
    """`steps[i] = (is_max, a, b)` writes value `inputs + i`; values 0 .. inputs - 1 are the samples."""

    inputs: int
    steps: tuple[tuple[bool, int, int], ...]
    outputs: tuple[int, ...]

    def last_uses(self) -> dict[int, int]:
        """Return value -> the step that reads it last, without the outputs."""
        last: dict[int, int] = {}
        for step, (_, a, b) in enumerate(self.steps):
            last[a] = last[b] = step
        return {value: step for value, step in last.items() if value not in self.outputs}


class _Builder:
    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.steps: list[tuple[bool, int, int]] = []
        self.known: dict[tuple[bool, int, int], int] = {}

    def _node(self, is_max: bool, a: int, b: int) -> int:
        key = (is_max, min(a, b), max(a, b))
        if key not in self.known:
            self.steps.append(key)
            self.known[key] = self.inputs + len(self.steps) - 1
        return self.known[key]

    def merge(self, x: list[int], y: list[int]) -> list[int]:
        """Merge two ascending lists (Batcher's odd-even merge)."""
        if not x or not y:
            return x or y
        if len(x) == len(y) == 1:
            return [self._node(False, x[0], y[0]), self._node(True, x[0], y[0])]
        odd = self.merge(x[0::2], y[0::2])
        even = self.merge(x[1::2], y[1::2])
        merged = [odd[0]]
        for i in range(max(len(odd) - 1, len(even))):
            pair = [part[j] for part, j in ((odd, i + 1), (even, i)) if j < len(part)]
            if len(pair) == 2:
                merged += [self._node(False, *pair), self._node(True, *pair)]
            else:
                merged += pair
        return merged

    def sort(self, values: list[int]) -> list[int]:
        if len(values) <= 1:
            return values
        half = len(values) // 2
        return self.merge(self.sort(values[:half]), self.sort(values[half:]))

    def select(self, sorted_core: list[int], rank: int, window: int, first: int, last: int) -> list[int]:
        """Return outputs `first` .. `last - 1`; `sorted_core` holds candidates for their `rank`-th value."""
        missing = last - first - 1
        # A core value below rank - missing, or above rank, cannot become the rank-th of any window.
        dropped = max(0, rank - missing)
        core, rank = sorted_core[dropped : rank + 1], rank - dropped
        if missing == 0:
            return [core[rank]]
        middle = first + (missing + 1) // 2
        # Windows of the left half all hold the samples from middle - 1; of the right half, up to middle + k.
        left_extra = self.sort(list(range(middle - 1, last - 1)))
        right_extra = self.sort(list(range(first + window, middle + window)))
        left = self.select(self.merge(core, left_extra), rank, window, first, middle)
        return left + self.select(self.merge(core, right_extra), rank, window, middle, last)


@lru_cache(maxsize=64)
def selection_network(window: int, rank: int, tile: int) -> Network:
    """Build the network that selects the `rank`-th smallest of `tile` neighbouring windows.

    Args:
        window: samples in a window, at least `tile`.
        rank: from 0 (minimum) to window - 1 (maximum).
        tile: outputs that share their work.

    Returns:
        A network with window + tile - 1 inputs and `tile` outputs.

    Raises:
        ValueError: for a rank or tile that does not fit the window.

    Example:
        >>> from torchprim.kernels.hpss.selection_network import selection_network
        >>> net = selection_network(3, 1, 1)  # the median of three: min(max(min(a, b), c), max(a, b))
        >>> net.inputs, len(net.steps)
        (3, 4)
    """
    if not 0 <= rank < window:
        raise ValueError(f"rank must lie in [0, {window - 1}], got {rank}")
    if not 1 <= tile <= window:
        raise ValueError(f"tile must lie in [1, {window}], got {tile}")
    inputs = window + tile - 1
    builder = _Builder(inputs)
    core = builder.sort(list(range(tile - 1, window)))
    outputs = builder.select(core, rank, window, 0, tile)
    return _pruned(inputs, builder.steps, outputs)


def _pruned(inputs: int, steps: list[tuple[bool, int, int]], outputs: list[int]) -> Network:
    """Remove the steps that no output depends on, and number the values anew."""
    needed = set(outputs)
    for step in reversed(range(len(steps))):
        if inputs + step in needed:
            needed.update(steps[step][1:])
    number = {value: value for value in range(inputs)}
    used = []
    for step, (is_max, a, b) in enumerate(steps):
        if inputs + step in needed:
            number[inputs + step] = inputs + len(used)
            used.append((is_max, number[a], number[b]))
    return Network(inputs, tuple(used), tuple(number[value] for value in outputs))


@lru_cache(maxsize=64)
def best_tile(window: int, rank: int, largest: int = 16) -> int:
    """Return the outputs of a tile (a power of two) for the fewest operations an output."""
    tiles = [t for t in (1, 2, 4, 8, 16, 32) if t <= min(window, largest)]
    return min(tiles, key=lambda t: len(selection_network(window, rank, t).steps) / t)
