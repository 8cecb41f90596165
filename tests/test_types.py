"""What editors and type checkers see of the package: the stub, and pyright on a client."""

import ast
import importlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import venv
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


@pytest.fixture(scope="module")
def editable(tmp_path_factory):
    """The python of an environment in which `pip install -e` has installed a clone, and nothing else."""
    setuptools = importlib.metadata.version("setuptools")
    if int(setuptools.partition(".")[0]) < 77:  # as pyproject.toml wants
        pytest.skip(f"needs setuptools 77 or newer, has {setuptools}")
    folder = tmp_path_factory.mktemp("editable")
    for name in ("torchprim", "kernels"):
        shutil.copytree(ROOT / name, folder / "clone" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "clone")
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    # Not from an index: with the setuptools of this environment, and its torch.
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    install += ["--no-build-isolation", "--editable", str(folder / "clone")]
    (libraries,) = (folder / "venv" / "lib").glob("python*/site-packages")
    beside = "\n".join(path for path in sys.path if Path(path).name == "site-packages")
    (libraries / "zz_dependencies.pth").write_text(beside, encoding="utf-8")
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return python


def test_an_editable_install_is_a_path(editable, tmp_path):
    """A path is followed by type checkers, a hook is not; the kernels are those of the clone."""
    code = (
        "import torchprim as tp, torchprim.kernels as k; print(tp.__file__, k.__file__, tp.hpss.__module__)"
    )
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([editable, "-c", code], cwd=tmp_path, env=kept, capture_output=True, text=True)
    clone = editable.parent.parent.parent / "clone"
    wanted = f"{clone}/torchprim/__init__.py {clone}/kernels/__init__.py torchprim.primitives.hpss"
    assert done.stdout.split() == wanted.split(), done.stderr
    hooks = list((editable.parent.parent / "lib").glob("python*/site-packages/__editable__*finder*"))
    assert not hooks


def test_a_client_of_an_editable_install(editable, tmp_path):
    (tmp_path / "client.py").write_text(CLIENT.read_text(encoding="utf-8"), encoding="utf-8")
    report = pyright(tmp_path, "client.py", python=editable)
    assert wrong_lines(report) == wrong_lines_wanted(), report["generalDiagnostics"]


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_a_client_in_mypy(kind, editable, request, tmp_path):
    pytest.importorskip("mypy", reason="needs mypy (pip install mypy)")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    if kind == "wheel":
        environment["MYPYPATH"] = str(request.getfixturevalue("installed"))
    (tmp_path / "client.py").write_text(CLIENT.read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--python-executable", editable, "client.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    found = {int(n) - 1 for n in re.findall(r"^client\.py:(\d+): error", done.stdout, re.MULTILINE)}
    assert sorted(found) == wrong_lines_wanted(), done.stdout + done.stderr


def wrong_lines_wanted():
    lines = CLIENT.read_text(encoding="utf-8").splitlines()
    return [n for n, line in enumerate(lines) if line.endswith("# error")]


def wrong_lines(report):
    return sorted({d["range"]["start"]["line"] for d in report["generalDiagnostics"]})


def pyright(installed, *arguments, python=sys.executable):
    pytest.importorskip("pyright", reason="needs pyright (pip install 'pyright[nodejs]')")
    command = [sys.executable, "-m", "pyright", "--pythonpath", str(python), "--outputjson", *arguments]
    # `--verifytypes` takes the python that is first on the path.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_a_client_that_uses_every_public_name(installed):
    text = CLIENT.read_text(encoding="utf-8")
    (installed / "client.py").write_text(text, encoding="utf-8")
    report = pyright(installed, "client.py")
    assert wrong_lines(report) == wrong_lines_wanted(), report["generalDiagnostics"]
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
