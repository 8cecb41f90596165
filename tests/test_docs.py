"""Docstring examples, and Python blocks of the README and of docs/differentiability.md, run."""

import ast
import contextlib
import doctest
import importlib
import io
import pkgutil
import re
from pathlib import Path

import pytest
import torch

import torchprim
import torchprim.kernels
from torchprim import audio
from torchprim.report import players

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def module_names():
    names = ["torchprim", "torchprim.kernels"]
    for package in (torchprim, torchprim.kernels):
        names += [m.name for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    # `python -m torchprim` runs when imported; Triton bodies need triton, and hold no examples.
    return sorted(n for n in set(names) if not n.endswith(("__main__", "_triton")))


@pytest.mark.parametrize("name", module_names())
def test_examples_run(name):
    torch.manual_seed(0)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0, said.getvalue()


def test_walk_finds_modules():
    names = module_names()
    assert {"torchprim.spectra.stft", "torchprim.cli.main", "torchprim.primitives.hpss"} <= set(names)
    assert any(name.startswith("torchprim.kernels.") for name in names)


def python_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_readme_blocks_run(tmp_path, monkeypatch):
    """In their order, as one session, in a folder with a `song.mp3`, a `song.wav` and two in `music`."""
    song, rate = audio.load_audio(audio.demo_song())
    (tmp_path / "song.mp3").write_bytes(players.mp3(song, rate))
    audio.save(tmp_path / "song.wav", song, rate)
    for name, sound in (("one", song), ("two", song.flip(-1))):
        audio.save(tmp_path / "music" / f"{name}.wav", sound, rate)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = {"__name__": "readme"}
    for block in python_blocks(README):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(block, "README.md", "exec"), names)


def test_learning_a_setting_runs():
    """The block of docs/differentiability.md, given a recording and its spectrogram."""
    (block,) = python_blocks(ROOT / "docs" / "differentiability.md")
    recording = torch.randn(22050, generator=torch.Generator().manual_seed(0))
    names = {"audio": recording, "rate": 44100, "magnitude": torchprim.stft(recording).abs()}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, "differentiability.md", "exec"), names)
    assert printed.getvalue() == "['power']\n"
    learnt = dict(names["separator"].named_parameters())
    assert list(learnt) == ["cues.hpss.primitive.power"]
    for setting in (*learnt.values(), names["weights"], names["beta"]):
        assert setting.grad.isfinite().all() and setting.grad.any()
    assert learnt["cues.hpss.primitive.power"].item() != 2.0  # the optimiser's step


def test_readme_names_existing_commands_and_files():
    text = README.read_text(encoding="utf-8")
    from torchprim.cli.main import COMMANDS

    for command in re.findall(r"^(?:\$ )?torchprim (\w+)", text, re.MULTILINE):
        assert command in COMMANDS, f"README names `torchprim {command}`"
    for place in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text):
        assert (ROOT / place).exists(), f"README links to {place}"


def names_of_tests(path):
    """Names of the test functions of a file."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_row_of_what_was_tried_names_tests_that_exist():
    rows = [
        line
        for line in (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| tried")
    ]
    assert len(rows) > 40
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, f"no test: {row}"
        for place, name in named:
            assert name in names_of_tests(ROOT / place), f"{place} has no {name}"
