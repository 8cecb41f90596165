"""Import of an object by name: `package.module:name`, or `file.py:name`."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from torchprim.errors import PresetError


def import_object(name: str, folder: str | os.PathLike[str] = ".") -> Any:
    """Import a module, or run a file, and return what has a name in it.

    Args:
        name: `package.module:name` or `path/file.py:name`; the name may have dots.
        folder: that a relative path starts from, and where modules are looked for after the installed ones.

    Raises:
        PresetError: "NAME: reason" where there is no such module, file or name, or where it fails.

    Example:
        >>> from torchprim.ensemble.imported import import_object
        >>> import_object("torchprim:HPSS").__name__
        'HPSS'
        >>> import_object("torchprim:Hpss")
        Traceback (most recent call last):
        torchprim.errors.PresetError: torchprim:Hpss: there is no 'Hpss' in torchprim
    """
    source, _, attributes = name.rpartition(":")
    if not (source and attributes):
        raise PresetError(name, "must be package.module:name or file.py:name")
    try:
        if source.endswith(".py"):
            path = Path(folder, source)
            if not path.is_file():
                raise PresetError(name, "there is no such file")
            found: Any = _run(path)
        else:
            with _importable(folder):
                found = importlib.import_module(source)
    except PresetError:
        raise
    except Exception as error:  # of any type: it is somebody's code
        raise PresetError(name, f"cannot be imported: {type(error).__name__}: {error}") from error
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            raise PresetError(name, f"there is no {attributes!r} in {source}")
        found = getattr(found, attribute)
    return found


def _run(path: Path) -> ModuleType:
    """Run a file as a module of its file's name, which no import statement can ask for."""
    spec = importlib.util.spec_from_file_location(path.name, path)
    assert spec is not None and spec.loader is not None  # of every name that ends with .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.name] = module  # dataclasses and pickle look there
    with _importable(path.parent):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _importable(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Make the modules of a folder importable in the block; installed ones come first."""
    path = os.path.abspath(folder)
    sys.path.append(path)
    try:
        yield
    finally:
        sys.path.remove(path)
