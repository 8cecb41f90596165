"""Docstring examples, Python blocks of README and docs, and the notebook run; commands have their options."""

import ast
import contextlib
import doctest
import importlib
import io
import json
import pkgutil
import re
import shlex
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import pytest
import torch

import torchprim
import torchprim.kernels
from torchprim import audio
from torchprim.cli.main import COMMANDS, main
from torchprim.report import players

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOTEBOOK = ROOT / "examples" / "tour.ipynb"


def name_of(page):
    return page.relative_to(ROOT).as_posix()


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


def blocks(page, languages):
    """Return the fenced blocks of a page, also those that are indented in a list."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for language, block in fenced if language in languages]


# A block of docs/kernels.md quotes a source file.
QUOTATIONS = {"docs/kernels.md": "kernels/salience/row_median.py"}
PROGRAMS = [page for page in PAGES if blocks(page, ("python",)) and name_of(page) not in QUOTATIONS]


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """A folder with a `song.mp3`, a `song.wav` and two in `music`: the demo song."""
    folder = tmp_path_factory.mktemp("music")
    song, rate = audio.load_audio(audio.demo_song())
    (folder / "song.mp3").write_bytes(players.mp3(song, rate))
    audio.save(folder / "song.wav", song, rate)
    for name, sound in (("one", song), ("two", song.flip(-1))):
        audio.save(folder / "music" / f"{name}.wav", sound, rate)
    return folder


def run(programs, title):
    """Run blocks in their order, as one session; return what they print, and their names."""
    names = {"__name__": "page"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), torch.random.fork_rng(devices=[]):
        for block in programs:
            exec(compile(block, title, "exec"), names)
    return printed.getvalue(), names


@pytest.mark.parametrize("page", PROGRAMS, ids=name_of)
def test_python_blocks_run(page, music, monkeypatch, tmp_path):
    monkeypatch.chdir(music)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    printed, names = run(blocks(page, ("python",)), page.name)
    if page.name == "differentiability.md":
        assert printed == "['power']\n"
        learnt = dict(names["separator"].named_parameters())
        assert list(learnt) == ["cues.hpss.primitive.power"]
        for setting in (*learnt.values(), names["weights"], names["beta"]):
            assert setting.grad.isfinite().all() and setting.grad.any()
        assert learnt["cues.hpss.primitive.power"].item() != 2.0  # the optimiser's step


def test_pages_with_programs_are_found():
    found = {name_of(page) for page in PROGRAMS}
    tutorials = {name_of(page) for page in PAGES if page.parent.name == "tutorials"}
    assert {"README.md", "docs/differentiability.md"} | tutorials <= found


@pytest.mark.parametrize("page", QUOTATIONS)
def test_quotations_stand_in_the_source(page):
    source = {ast.dump(s) for s in ast.parse((ROOT / QUOTATIONS[page]).read_text(encoding="utf-8")).body}
    for block in blocks(ROOT / page, ("python",)):
        for statement in ast.parse(block).body:
            assert ast.dump(statement) in source, ast.unparse(statement)


@cache
def help_of(*program):
    """Return what a program prints for `--help`."""
    if program[0] == "torchprim":
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            assert main([*program[1:], "--help"]) == 0
        return said.getvalue()
    words = [sys.executable, *program[1:], "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


_PROGRAM = re.compile(
    r"\s*(torchprim (?:evaluate [a-z]+|[a-z]+)"
    r"|(?:python|torchrun.*?) (?:train\.py|evaluate\.py(?: [a-z]+)?)"
    r"|python -m (?:benchmarks(?: [a-z]+)?|examples\.\w+))"
)


def commands(page):
    """Find our own programs in a page's shell blocks and inline code: (program, its options)."""
    text = page.read_text(encoding="utf-8")
    shell = [block.replace("\\\n", " ") for block in blocks(page, ("", "sh", "bash"))]
    lines = [line for block in shell for line in block.splitlines()]
    lines += re.findall(r"`((?:torchprim|python|torchrun) [^`]+)`", text)
    for line in lines:
        for part in re.split(r"&&|[|;]", line):
            program = _PROGRAM.match(part)
            if program:
                words = program[1].split()
                words = ["python", *words[words.index("train.py") :]] if words[0] == "torchrun" else words
                rest = part[program.end() :].split(" #")[0].replace("[", "").replace("]", "")
                yield tuple(words), [word for word in shlex.split(rest) if word.startswith("-")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_their_options_exist(page):
    for program, given in commands(page):
        if program[0] == "torchprim":
            assert program[1] in COMMANDS, f"{page.name} names {' '.join(program)}"
        if not given:
            continue
        text = help_of(*program)
        if "quartiles" in program:  # passes the others on
            text += help_of("torchprim", "train")
        for option in given:
            name = option.split("=")[0]
            assert re.search(rf"(?<![\w-]){name}(?![\w-])", text), f"{page.name}: {program} has no {name}"


def test_options_that_do_not_exist_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```\ntorchprim separate a.mp3 --nonsense\n```\n", encoding="utf-8")
    assert list(commands(page)) == [(("torchprim", "separate"), ["--nonsense"])]
    with pytest.raises(AssertionError, match="--nonsense"):
        test_commands_and_their_options_exist(page)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for place in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text):
        assert (page.parent / place).exists(), f"{name_of(page)} links to {place}"


def test_the_notebook_runs_and_keeps_small_outputs():
    assert NOTEBOOK.stat().st_size < 500_000
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    _, names = run(["".join(cell["source"]) for cell in code], NOTEBOOK.name)
    assert list(names["separation"].masks) == ["2dft-r", "2dft-m", "melody", "hpss", "long-hpss"]
    kept = [output for cell in code for output in cell["outputs"]]
    pictures = [output for output in kept if "image/png" in output.get("data", {})]
    text = "".join("".join(output.get("text", [])) for output in kept)
    assert len(pictures) == 4 and not any(output["output_type"] == "error" for output in kept)
    assert f"confidence {names['separation'].confidence:.2f}" in text  # the outputs are of this code


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
