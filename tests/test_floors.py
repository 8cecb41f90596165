"""Imports run down one list of folders; private names stay in their file, argparse in command lines."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Top to bottom; folders on one floor do not import one another.
FLOORS = [
    {"train", "evaluate", "__main__"},
    {"cli"},
    {"training", "report", "evaluation"},
    {"losses", "separators"},
    {"networks"},
    {"ensemble", "plots"},
    {"primitives", "bootstrap", "metrics"},
    {"spectra"},
    {"audio"},
    {"checks", "errors", "files", "progress", "sources", "version", "kernels"},
    {"locks"},
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
FILES = [
    *(ROOT / "torchprim").rglob("*.py"),
    *(ROOT / "kernels").rglob("*.py"),
    ROOT / "train.py",
    ROOT / "evaluate.py",
]
CLIENTS = [path for folder in ("benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")]


def dotted(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ("torchprim", *parts) if parts[0] == "kernels" else parts


MODULES = {tuple(p for p in dotted(path) if p != "__init__") for path in FILES}


@cache
def imported(path: Path) -> list[tuple[tuple[str, ...], str]]:
    """Modules of the package that a file imports, at its top or inside functions, and the names it takes."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(tuple(alias.name.split(".")), "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = tuple(node.module.split("."))
            for alias in node.names:
                is_module = (*module, alias.name) in MODULES
                found.append(((*module, alias.name), "") if is_module else (module, alias.name))
    own = ("torchprim", "train", "evaluate", "benchmarks", "tests", "examples")
    return [(module, name) for module, name in found if module[0] in own]


def floor(module: tuple[str, ...]) -> str:
    return module[1] if module[0] == "torchprim" and len(module) > 1 else module[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_down(path):
    own = floor(dotted(path))
    for module, name in imported(path):
        if own == "__init__":  # the public names are imported on first use
            assert module == ("torchprim", "version"), f"torchprim/__init__.py imports {'.'.join(module)}"
            continue
        assert name != "*", f"{path.name} imports all of {'.'.join(module)}"
        assert module != ("torchprim",), f"{path.name} imports torchprim.{name} through the public names"
        other = floor(module)
        if other not in ("torchprim", own):
            assert LEVEL[own] < LEVEL[other], f"{path.name} ({own}) imports {'.'.join(module)}"


def test_kernels_import_torch_and_triton_alone():
    outside = {"torch", "triton", "torchprim"}
    for path in (ROOT / "kernels").rglob("*.py"):
        for module, _ in imported(path):
            assert floor(module) == "kernels", f"{path.name} imports {'.'.join(module)}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in {name.split(".")[0] for name in names} - outside:
                assert name in __import__("sys").stdlib_module_names, f"{path.name} imports {name}"


def test_no_circles():
    graph = {dotted(path): {module for module, _ in imported(path)} for path in FILES}
    done, open_ = set(), []

    def visit(module):
        assert module not in open_, " -> ".join(".".join(m) for m in [*open_[open_.index(module) :], module])
        if module in done or module not in graph:
            return
        open_.append(module)
        for other in graph[module]:
            visit(other)
        done.add(open_.pop())

    for module in graph:
        visit(module)


@pytest.mark.parametrize("path", [*FILES, *CLIENTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_private_names_stay_at_home(path):
    """Neither imported by name nor reached through a module; dunder names are public."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert not alias.name.startswith("_") or alias.name.startswith("__"), alias.name
                if (*node.module.split("."), alias.name) in MODULES:
                    modules.add(alias.asname or alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert not node.attr.startswith("_"), f"{node.value.id}.{node.attr}"


def test_the_house():
    """Few files at the root, none too long, no folder too full."""
    root = {path.name for path in (ROOT / "torchprim").iterdir() if path.is_file()}
    modules = {"__init__.py", "__main__.py", "checks.py", "errors.py", "files.py", "locks.py", "progress.py"}
    assert root == modules | {"sources.py", "version.py", "__init__.pyi", "py.typed"}
    for path in [*FILES, *CLIENTS]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 300, f"{path.relative_to(ROOT)} has {lines} lines"
    for folder in {path.parent for path in FILES}:
        names = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(names) <= 14, f"{folder.relative_to(ROOT)} has {len(names)} modules"


def test_argparse_stays_in_command_lines():
    importers = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            if "argparse" in names:
                importers.add(floor(dotted(path)))
    assert importers <= {"cli", "__main__", "train", "evaluate"}
