"""Odd arguments of every public function and class, drawn by hypothesis."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from benchmarks.fuzz.array import Array
from benchmarks.fuzz.targets import SAMPLES, TARGETS

_NUMBERS = (0, 1, -1, 2, 3, 1000, -0.5, 0.5, 1e-30, 1e30, 2**31, 2**70, math.nan, math.inf, -math.inf, True)
_OTHERS = (None, "x", "", b"x", (), (0, 0), (-1, 3), (1, 2, 3), [1.0], {}, 1j, np.float32(2), np.int64(3))
_SHAPES = ((), (0,), (1,), (5,), (0, 5), (5, 0), (SAMPLES, 2), (2, 3, 0), (1, 1), (2, 1, 17, 9))
_DTYPES = ("float32", "float64", "float16", "bfloat16", "int16", "int64", "bool", "complex64", "uint8")
_FILLS = ("uniform", "uniform", "zeros", "nan", "inf", "negative", "huge", "tiny")
_KINDS = ("tensor", "tensor", "meta", "numpy", "sparse", "gradient", "view", "list")


class Call(NamedTuple):
    """A public name, and the arguments that differ from those it accepts."""

    name: str
    odd: dict[str, Any]

    def __str__(self) -> str:
        return f"`{self.name}` with {', '.join(f'{key}={value!r}' for key, value in self.odd.items())}"


def draw_calls(name: str, count: int, seed: int) -> list[Call]:
    """Draw calls, each with one to three odd arguments.

    Raises:
        ImportError: without hypothesis.
    """
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    if count == 0:
        return []
    good = TARGETS[name][1]
    numbers, others = st.sampled_from(_NUMBERS), st.sampled_from(_OTHERS)

    def arrays(like: Array) -> st.SearchStrategy:
        shapes = st.one_of(st.just(like.shape), st.sampled_from(_SHAPES))
        dtypes = st.one_of(st.just(like.dtype), st.sampled_from(_DTYPES))
        return st.builds(Array, shapes, dtypes, st.sampled_from(_FILLS), st.sampled_from(_KINDS))

    scalar = arrays(Array(()))

    def odd(key: str) -> st.SearchStrategy:
        value = good[key]
        usual = arrays(value) if isinstance(value, Array) else st.one_of(numbers, scalar)
        return st.one_of(usual, usual, usual, numbers, others)

    keys = st.lists(st.sampled_from(sorted(good)), min_size=1, max_size=3, unique=True)
    chosen = keys.flatmap(lambda names: st.fixed_dictionaries({key: odd(key) for key in names}))
    calls: list[Call] = []

    @seeded(seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(chosen)
    def collect(values: dict[str, Any]) -> None:
        calls.append(Call(name, values))

    collect()
    return calls


def call(case: Call) -> str:
    """Call the function; return how it ends."""
    function, good = TARGETS[case.name]
    given = {
        key: value.build() if isinstance(value, Array) else value for key, value in (good | case.odd).items()
    }
    try:
        function(**given)
    except (ValueError, TypeError) as error:
        text = str(error)
        clear = 0 < len(text) < 300 and "\n" not in text and type(error) in (ValueError, TypeError)
        return type(error).__name__ if clear else f"{type(error).__name__}: {text[:200]!r}"
    return "result"
