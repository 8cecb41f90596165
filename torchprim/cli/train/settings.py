"""`settings.json` of a run: the options that were given, so that `--resume` wants none repeated."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from torchprim.cli.train.options import add_arguments, complete
from torchprim.errors import FileError
from torchprim.files import replaced
from torchprim.training.recipes import options

NAME = "settings.json"
_FOLDERS, _FILES = ("audio", "stems"), ("teacher", "labels", "cache")
_NOT_KEPT = ("out", "resume")


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a command line that are settings of the run."""
    names = vars(complete({}))
    return {name: value for name, value in vars(args).items() if name in names and name not in _NOT_KEPT}


def write_settings(run: Path, settings: Mapping[str, Any]) -> None:
    """Write the options, and the folder that relative paths among them start from.

    Raises:
        OSError: where they cannot be written.
    """
    plain = {name: ",".join(v) if isinstance(v, tuple) else v for name, v in settings.items()}
    with replaced(run / NAME) as file:
        file.write(json.dumps({"folder": os.getcwd(), "options": plain}, indent=1).encode() + b"\n")


def read_settings(run: Path) -> dict[str, Any]:
    """Read the options of a run; none where it has no such file yet.

    Raises:
        FileError: for a file that cannot be read, or that does not hold the options of a training.
    """
    path = run / NAME
    try:
        content = json.loads(path.read_bytes())
        folder, stored = str(content["folder"]), dict(content["options"])
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise FileError(path, error.strerror or str(error)) from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise FileError(path, "does not hold the options of a training") from error
    parser = _Parser(path)
    add_arguments(parser)
    settings = settings_of(parser.parse_args(_words(stored)))
    if os.path.abspath(folder) != os.getcwd():
        for name, value in settings.items():
            if name in _FOLDERS:
                settings[name] = [os.path.join(folder, item) for item in value]
            elif name in _FILES and (name, value) != ("teacher", "pcl"):
                settings[name] = os.path.join(folder, value)
    return settings


class _Parser(argparse.ArgumentParser):
    """Parser of a file, whose errors name it."""

    def __init__(self, path: Path) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        self._path = path

    def error(self, message: str) -> NoReturn:
        raise FileError(self._path, f"does not hold the options of a training: {message}")


def _words(stored: Mapping[str, Any]) -> list[str]:
    """Convert options to words of a command line, which is what checks them."""
    words: list[str] = []
    for name, value in stored.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, list):
            words += [option, *map(str, value)]
        else:
            words.append(f"{option}={value}")
    return words


def changed(before: Mapping[str, Any], now: Mapping[str, Any], with_recipe: bool) -> str:
    """Describe in one line which settings of a run another command line changes; empty for none.

    Args:
        before: settings that it had.
        now: settings that it has.
        with_recipe: whether to name options of the recipe, too, which a checkpoint tells better.

    Example:
        >>> from torchprim.cli.train.settings import changed
        >>> changed({"low": 0.5}, {"low": 0.5, "seed": 3, "audio": ["a", "b"]}, True)
        'audio none -> a b, seed 0 -> 3'
    """
    old, new = vars(complete(before)), vars(complete(now))
    recipe = set() if with_recipe else {name for name, *_ in options()}
    return ", ".join(
        f"{name} {_text(old[name])} -> {_text(new[name])}"
        for name in old
        if name not in recipe and _comparable(name, old[name]) != _comparable(name, new[name])
    )


def _comparable(name: str, value: Any) -> Any:
    """Return a path as an absolute one: a folder may be given in another way."""
    if name in _FOLDERS:
        return [os.path.abspath(item) for item in value]
    return os.path.abspath(value) if name in _FILES and value is not None else value


def _text(value: Any) -> str:
    if value in (None, [], ""):
        return "none"
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
