"""What `import torchprim` does and does not do, from a clone and from elsewhere; the public names."""

import importlib
import inspect
import os
import pkgutil
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import torchprim as tp

ROOT = Path(__file__).resolve().parent.parent
HEAVY = (
    "av",
    "soundfile",
    "matplotlib",
    "torchaudio",
    "torchcrepe",
    "scipy",
    "librosa",
    "sklearn",
    "museval",
    "tqdm",
)


def python(code, cwd=ROOT, **environment):
    """Run code in a fresh interpreter that sees no other torchprim than the one of `environment`."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=kept | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_is_light():
    code = f"""
import torch, sys
before = set(sys.modules)
import torchprim
new = set(sys.modules) - before
print(sorted(name for name in new if name.split(".")[0] in {HEAVY!r}))
print(sorted(name for name in new if name.startswith("torchprim")))
"""
    heavy, own = python(code).splitlines()
    assert heavy == "[]"
    # Where nothing is installed, the clone's kernels are loaded on the way.
    assert own.replace("'torchprim.kernels', ", "") == "['torchprim', 'torchprim.version']"


def test_help_does_not_wait_for_torch():
    code = """
import sys
from torchprim.cli.main import COMMANDS, main
names = set(COMMANDS) - {"train", "evaluate"}  # whose help has values that torch has to be loaded for
print({main([name, "--help"]) for name in names}, main(["--help"]), "torch" in sys.modules)
"""
    assert python(code).splitlines()[-1] == "{0} 0 False"


# None in sys.modules: importing it raises, and asking whether it is there says no.
BLOCK = f"import sys; sys.modules.update(dict.fromkeys({(*HEAVY, 'triton')!r}))\n"


def test_core_needs_torch_and_numpy_alone():
    code = """
import torch, torchprim as tp
audio = torch.randn(2, 22050)
for preset in ("best", "paper"):
    stems = tp.PrimitiveSeparator(preset)(audio, 44100)
    assert stems.vocals.shape == audio.shape and stems.confidence.shape == (2,)
magnitude = tp.stft(audio).abs()
assert tp.repet_sim(magnitude).shape == magnitude.shape
assert tp.sd_sdr(audio, stems.vocals).shape == (2,)
"""
    code = f"{BLOCK}{code}print([name for name in {HEAVY!r} if sys.modules[name] is not None])"
    assert python(code) == "[]"


@pytest.mark.parametrize(
    "code, package",
    [
        ("tp.PrimitiveSeparator('companion')(torch.randn(4410), 44100)", "torchaudio"),
        ("from torchprim.plots.figure import new_figure; new_figure(1, 1)", "matplotlib"),
        ("from torchprim.report.players import mp3; mp3(torch.zeros(1, 9), 44100)", "soundfile"),
    ],
)
def test_missing_package_is_named(code, package):
    wrapped = (
        BLOCK
        + f"""
import torch, torchprim as tp
try:
    {code}
except ImportError as error:
    print(error)
"""
    )
    said = python(wrapped)
    assert f"pip install {package}" in said, said


def test_kernels_from_the_root_of_a_clone():
    assert python("import torchprim.kernels as k; print(k.__file__)") == str(ROOT / "kernels" / "__init__.py")


def test_kernels_from_elsewhere(tmp_path):
    code = (
        "import torchprim, torchprim.kernels.hpss.sliding_median as m; print(m.__name__, torchprim.kernels)"
    )
    said = python(code, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert said.startswith("torchprim.kernels.hpss.sliding_median <module 'torchprim.kernels'")


def test_no_top_level_package_named_kernels(tmp_path):
    """The name belongs to a package on PyPI."""
    code = """
import sys, torchprim
print("kernels" in sys.modules)
"""
    assert python(code, cwd=tmp_path, PYTHONPATH=str(ROOT)) == "False"


def test_setup_installs_every_folder(monkeypatch):
    given = {}
    monkeypatch.setattr("setuptools.setup", given.update)
    runpy.run_path(str(ROOT / "setup.py"))
    folders = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "torchprim").rglob("*.py")}
    kernels = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "kernels").rglob("*.py")}
    assert all((ROOT / folder / "__init__.py").is_file() for folder in folders | kernels)
    wanted = {name.replace("/", ".") for name in folders | {f"torchprim/{name}" for name in kernels}}
    assert set(given["packages"]) == wanted and len(given["packages"]) == len(wanted)


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_page_on_an_index_has_no_relative_links(monkeypatch):
    given = {}
    monkeypatch.setattr("setuptools.setup", given.update)
    long_description = runpy.run_path(str(ROOT / "setup.py"))["long_description"]
    relative = re.compile(r"\]\((?!https?:|#)")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert relative.search(readme) and not relative.search(given["long_description"])
    text = "![a](b/c.png)[d](e.md#f), [g](https://h/i), [j](#k), [l](l)\n"
    assert long_description(text, "") == "d, [g](https://h/i), [j](#k), l\n"
    absolute = "![a](https://s/b/c.png)[d](https://s/e.md#f), [g](https://h/i), [j](#k), [l](https://s/l)\n"
    assert long_description(text, "https://s/") == absolute


def test_metadata_agree():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, re.M)[1] == tp.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (.+)$", changes, re.M)[1] == tp.__version__
    minors = [int(c.split(".")[-1]) for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert PROJECT["requires-python"] == f">=3.{min(minors)},<3.{max(minors) + 1}"
    assert f"versions=({' '.join(f'3.{minor}' for minor in minors)})" in (ROOT / ".ci/matrix").read_text()


def test_every_direct_package_is_pinned():
    def normal(name):
        return re.sub(r"[-_.]+", "-", name).lower()

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normal(line.split("==")[0]) for line in lines if "==" in line}
    extras = PROJECT["optional-dependencies"].values()
    wanted = [*PROJECT["dependencies"], *(package for extra in extras for package in extra)]
    assert {normal(re.match(r"[\w.-]+", package)[0]) for package in wanted} <= pinned


def test_the_sdist_has_every_folder_and_file():
    """Those of the root; packages and what setuptools adds by itself need no line."""
    lines = [line.split() for line in (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()]
    listed = {word for command, *words in lines if command in ("include", "graft") for word in words}
    alone = {
        "README.md",
        "LICENSE",
        "pyproject.toml",
        "setup.py",
        "MANIFEST.in",
        "PKG-INFO",
        "setup.cfg",
        "torchprim",
    }
    # What is not of the repository: outputs, caches, the record of versions.
    other = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()} | {
        ".git",
        ".gitignore",
    }
    found = {path.name for path in ROOT.iterdir()}
    assert all((ROOT / name).exists() for name in listed)
    assert {name for name in found - listed - alone - other if not name.endswith(".egg-info")} == set()


@pytest.mark.parametrize("name", [n for n in tp.__all__ if n != "__version__"])
def test_public_name(name):
    thing = getattr(tp, name)
    if not callable(thing):
        return
    doc = inspect.getdoc(thing) or ""
    assert doc, f"tp.{name} has no docstring"
    if inspect.isclass(thing) and issubclass(thing, tuple):
        return  # the result of a function, whose example shows it
    assert "Example:" in doc and ">>>" in doc, f"tp.{name} has no example"


def test_no_public_name_hides_a_module():
    modules = {m.name for m in pkgutil.iter_modules(tp.__path__)} | {"kernels"}
    assert not modules & set(tp.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tp.nonsense
    assert set(tp.__all__) <= set(dir(tp))


def test_public_modules_are_importable():
    for module in set(tp._PUBLIC.values()):
        importlib.import_module(module)
