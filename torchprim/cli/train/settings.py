"""`settings.json` of a run: the options that were given, so that `--resume` wants none repeated."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from torchprim.checks import is_url
from torchprim.cli.train.options import add_arguments, complete
from torchprim.errors import FileError
from torchprim.files import replaced
from torchprim.training.recipes import options

NAME = "settings.json"
_FOLDERS, _FILES = {"audio", "stems"}, {"teacher", "labels", "cache"}
_NOT_KEPT = ("out", "resume")


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a command line that are settings of the run.

    Paths are absolute: a run may be resumed from anywhere, and its labels name the same songs.
    """
    names = vars(complete({}))
    settings = {name: v for name, v in vars(args).items() if name in names and name not in _NOT_KEPT}
    for name in _FOLDERS & settings.keys():
        settings[name] = [_absolute(path) for path in settings[name]]
    for name in _FILES & settings.keys():
        settings[name] = _absolute(settings[name])
    if "teacher_preset" in settings:
        settings["teacher_preset"] = _absolute_preset(settings["teacher_preset"])
    return settings


def _absolute(path: str) -> str:
    return path if path in ("", "pcl") or is_url(path) else os.path.abspath(path)


def _absolute_preset(preset: str) -> str:
    """Return the name of a preset with the file that it is in, if it is in one, as an absolute path."""
    file, colon, name = preset.rpartition(":")
    if colon and file.endswith(".py"):
        return f"{_absolute(file)}:{name}"
    return _absolute(preset) if preset.endswith(".toml") else preset


def write_settings(run: Path, settings: Mapping[str, Any]) -> None:
    """Write the options.

    Raises:
        OSError: where they cannot be written.
    """
    plain = {name: ",".join(v) if isinstance(v, tuple) else v for name, v in settings.items()}
    with replaced(run / NAME) as file:
        file.write(json.dumps(plain, indent=1).encode() + b"\n")


def read_settings(run: Path) -> dict[str, Any]:
    """Read the options of a run; none where it has no such file yet.

    Raises:
        FileError: for a file that cannot be read, or that does not hold the options of a training.
    """
    path = run / NAME
    try:
        stored = json.loads(path.read_bytes())
        if not isinstance(stored, dict):
            raise ValueError(f"got a {type(stored).__name__}")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise FileError(path, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise FileError(path, "does not hold the options of a training") from error
    parser = _Parser(path)
    add_arguments(parser)
    return settings_of(parser.parse_args(_words(stored)))


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
        if name not in recipe and old[name] != new[name]
    )


def _text(value: Any) -> str:
    if value in (None, [], ""):
        return "none"
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
