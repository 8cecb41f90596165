"""Every docstring example of the package, and every Python block of the README, runs."""

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


def python_blocks():
    return re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


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
    for block in python_blocks():
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(block, "README.md", "exec"), names)


def test_readme_names_existing_commands_and_files():
    text = README.read_text(encoding="utf-8")
    from torchprim.cli.main import COMMANDS

    for command in re.findall(r"^(?:\$ )?torchprim (\w+)", text, re.MULTILINE):
        assert command in COMMANDS, f"README names `torchprim {command}`"
    for place in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text):
        assert (ROOT / place).exists(), f"README links to {place}"
