"""What editors and type checkers see of the package: the stub, and pyright on a client."""

import ast
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import torchprim as tp

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "tests" / "support" / "typed_client.py"


def public_modules():
    """name -> module, as `__init__.py` has them."""
    return {**tp._PUBLIC, "__version__": "torchprim.version", "metrics": "torchprim"}


def test_the_stub_names_what_the_package_gives():
    tree = ast.parse((ROOT / "torchprim" / "__init__.pyi").read_text(encoding="utf-8"))
    found = {}
    assert ast.get_docstring(tree)
    for node in tree.body[1:]:
        assert isinstance(node, ast.ImportFrom)
        (alias,) = node.names
        assert alias.asname == alias.name  # an explicit re-export
        found[alias.name] = node.module
    assert found == public_modules()


@pytest.mark.parametrize("name", sorted(tp._PUBLIC))
def test_a_public_name_is_imported_from_where_it_is_defined(name):
    module = importlib.import_module(tp._PUBLIC[name])
    thing = getattr(module, name)
    if name not in ("PRESETS", "NETWORKS"):  # plain values
        assert thing.__module__ == tp._PUBLIC[name]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package as a wheel lays it out."""
    folder = tmp_path_factory.mktemp("installed")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "torchprim", folder / "torchprim", ignore=ignore)
    shutil.copytree(ROOT / "kernels", folder / "torchprim" / "kernels", ignore=ignore)
    return folder


def pyright(installed, *arguments):
    pytest.importorskip("pyright", reason="needs pyright (pip install 'pyright[nodejs]')")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", *arguments]
    # `--verifytypes` takes the python that is first on the path.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_a_client_that_uses_every_public_name(installed):
    text = CLIENT.read_text(encoding="utf-8")
    (installed / "client.py").write_text(text, encoding="utf-8")
    report = pyright(installed, "client.py")
    wanted = [n for n, line in enumerate(text.splitlines()) if line.endswith("# error")]
    problems = {d["range"]["start"]["line"]: d["message"] for d in report["generalDiagnostics"]}
    assert sorted(problems) == wanted, problems
    used = {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
    assert set(public_modules()) <= used


def test_public_signatures_are_typed(installed):
    """No parameter, result or attribute of a public function or class is unknown to a type checker."""
    report = pyright(installed, "--verifytypes", "torchprim", "--ignoreexternal")
    public = [f"{module}.{name}" for name, module in tp._PUBLIC.items()]
    unknown = {
        symbol["name"]: [d["message"] for d in symbol["diagnostics"]]
        for symbol in report["typeCompleteness"]["symbols"]
        if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]
        if any(f"{symbol['name']}.".startswith(f"{name}.") for name in public)
    }
    assert not unknown
