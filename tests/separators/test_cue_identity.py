"""Identities of cues: the same in another process, another wherever a mask may be."""

import functools
import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

import torchprim as tp
from torchprim.separators.cue_identity import cue_identity

ROOT = Path(__file__).resolve().parents[2]
LEVEL = 1.0
GENERATOR = torch.Generator()


def loud(mixture, level=1.0):
    return (mixture.magnitude() > level).float()


def above_level(mixture):
    return loud(mixture, LEVEL)


def random(mixture):
    return torch.rand(mixture.magnitude().shape, generator=GENERATOR)


def closing_over(value):
    return lambda mixture: mixture.magnitude().clamp(0, 1) * value


class Slope(nn.Module):
    def __init__(self, slope, power=2, note=None):
        super().__init__()
        self.slope, self.power, self.note = nn.Parameter(torch.tensor(slope)), power, note
        self.register_buffer("floor", torch.zeros(1), persistent=False)

    def forward(self, mixture):
        return torch.exp(-self.slope * mixture.magnitude() ** self.power)


class Callable:
    def __init__(self, level):
        self.level = level

    def __call__(self, mixture):
        return loud(mixture, self.level)


def identity(cue):
    return cue_identity("mine", cue)


MAKERS = [
    lambda: loud,
    lambda: functools.partial(loud, level=2.0),
    lambda: closing_over(1.0),
    lambda: closing_over(torch.ones(3)),
    lambda: Slope(4.0),
    lambda: Slope(4.0).forward,
    lambda: Callable(1.0),
    lambda: tp.HPSS(9),
    lambda: above_level,
]


@pytest.mark.parametrize("make", MAKERS)
def test_equal_cues_have_equal_identities(make):
    assert identity(make()) == identity(make())


def test_whatever_a_mask_depends_on_is_in_the_identity():
    moved = Slope(4.0)
    moved.floor += 1
    cues = [make() for make in MAKERS]
    cues += [functools.partial(loud, level=3.0), closing_over(2.0), closing_over(2 * torch.ones(3))]
    cues += [Slope(5.0), Slope(4.0, power=3), moved, Slope(5.0).forward, Callable(2.0), tp.HPSS(31)]
    assert len({identity(cue) for cue in cues}) == len(cues)


def test_a_global_that_is_read(monkeypatch):
    before = identity(above_level)
    monkeypatch.setattr(sys.modules[__name__], "LEVEL", 2.0)
    assert identity(above_level) != before
    monkeypatch.setattr(sys.modules[__name__], "LEVEL", 1.0)
    assert identity(above_level) == before
    monkeypatch.setattr(sys.modules[__name__], "loud", lambda mixture, level: mixture.magnitude())
    assert identity(above_level) != before  # a function that it calls


def test_code_beside_that_of_a_cue(tmp_path, monkeypatch):
    """A function of another local module, and a module whose attributes are read."""
    monkeypatch.syspath_prepend(tmp_path)
    code = "import levels_of_a_test as levels\nfrom levels_of_a_test import level\n"
    code += "def one(m):\n    return levels.level(m)\n\ndef two(m):\n    return level(m)\n"
    (tmp_path / "cues_of_a_test.py").write_text(code)
    seen = set()
    for number in (1.0, 2.0):
        (tmp_path / "levels_of_a_test.py").write_text(f"def level(m):\n    return m.magnitude() * {number}\n")
        for name in ("levels_of_a_test", "cues_of_a_test"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        module = importlib.import_module("cues_of_a_test")
        seen |= {identity(module.one), identity(module.two)}
    assert len(seen) == 4


def test_training_mode_and_gradients_do_not_matter():
    cue = Slope(4.0)
    before = identity(cue)
    cue.eval().requires_grad_(False)
    assert identity(cue) == before


@pytest.mark.parametrize(
    ("cue", "error"),
    [
        (random, "'GENERATOR', which random reads, is a Generator"),
        (closing_over(iter(())), r"'value', which closing_over.<locals>.<lambda> reads, is a tuple_iterator"),
        (Slope(4.0, note=object()), "the attribute 'note' of Slope is a object"),
    ],
)
def test_what_has_no_stable_identity_says_so(cue, error):
    separator = tp.PrimitiveSeparator(tp.PRESETS["best"].plus("mine", cue))
    with pytest.raises(ValueError, match=f"cue 'mine' has no stable identity: {error}") as caught:
        _ = separator.identity
    assert "\n" not in str(caught.value)


def test_a_cue_may_say_its_identity():
    cue = closing_over(iter(()))
    cue.identity = "mine 1"
    one = tp.PrimitiveSeparator(tp.PRESETS["best"].plus("mine", cue)).identity
    cue.identity = "mine 2"
    assert tp.PrimitiveSeparator(tp.PRESETS["best"].plus("mine", cue)).identity != one


def test_the_same_in_another_process(tmp_path):
    """Neither addresses nor the order of sets, which differ between processes, are in it."""
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
        import torch, torchprim as tp
        KINDS = frozenset({"a", "b", "c", "d"})
        def cue(mixture, kind="a"):
            return mixture.magnitude() * (kind in KINDS) * (kind in {"x", "y", "z"})
        class Own(torch.nn.Module):
            def forward(self, mixture):
                return super().__call__(cue(mixture))
        preset = tp.PRESETS["best"].plus("one", cue).plus("two", Own()).plus("three", lambda m: cue(m))
        """)
    )
    code = "import torchprim as tp; print(tp.PrimitiveSeparator('mine.py:preset').identity)"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1 and said.pop().startswith("pcl best+one+two+three ")
