"""Presets in TOML files."""

from __future__ import annotations

import dataclasses
import functools
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from torchprim.ensemble.cues import Cue
from torchprim.ensemble.imported import import_object
from torchprim.ensemble.presets import PRESETS, Preset
from torchprim.errors import PresetError
from torchprim.spectra.stft import Geometry

# field of a preset -> types of its value in a file, and their name in an error
_NUMBER = ((int, float), "a number")
_WHOLE = ((int,), "a whole number")
_SETTINGS: dict[str, tuple[tuple[type, ...], str]] = {
    "name": ((str,), "a string"),
    "weights": ((dict,), "a table"),
    "geometry": ((dict,), "a table"),
    "cues": ((dict,), "a table"),
    "beta": _NUMBER,
    "neighbourhood": ((list,), "a list of two whole numbers"),
    "kernel_size": _WHOLE,
    "cutoff": _NUMBER,
    "smooth": ((bool,), "true or false"),
    "cut": ((list,), "a list of cues"),
    "mask_dtype": ((str,), "'float16' or 'float32'"),
    "spatial": _NUMBER,
    "preset": ((str,), "a string"),
}
_DTYPES = {"float16": torch.float16, "float32": torch.float32}


def read_preset(path: str | os.PathLike[str]) -> Preset:
    """Read a preset from a TOML file: the fields of `Preset`, and cues of your own.

        name = "mine"                # (the file's name)
        preset = "best"              # whose values the others are (the defaults of `Preset`)
        beta = 3.0

        [weights]                    # in place of all of the preset's
        hpss = 1.0
        melody = 2.0

        [cues.pan]                   # in addition
        cue = "my_cues.py:pan"       # or package.module:name; relative to the file's folder
        weight = 0.5                 # (1)

        [cues.hpss-9]
        cue = "torchprim:HPSS"       # a class is made, with the other keys as its arguments
        kernel_size = 9

    Further keys of a function are passed to it after the mixture.

    Raises:
        PresetError: "PATH: reason", with the line where the file is no TOML, else the key.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchprim.ensemble.preset_file import read_preset
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "sharp.toml")
        ...     _ = path.write_text('preset = "best"\\nbeta = 5\\n[cues.hpss-9]\\ncue = "torchprim:HPSS"\\n')
        ...     preset = read_preset(path)
        >>> preset.name, preset.beta, preset.weights["hpss-9"]
        ('sharp', 5, 1.0)
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise PresetError(path, (error.strerror or str(error)).lower()) from error
    except UnicodeDecodeError as error:
        raise PresetError(path, "is no text in UTF-8") from error
    except tomllib.TOMLDecodeError as error:  # names line and column
        raise PresetError(path, f"is no TOML: {error}") from error
    try:
        return _preset(table, Path(path))
    except PresetError as error:  # of a cue
        raise PresetError(path, str(error)) from error
    except (ValueError, TypeError) as error:
        raise PresetError(path, str(error)) from error


def _preset(table: dict[str, Any], path: Path) -> Preset:
    for key, value in table.items():
        if key not in _SETTINGS:
            raise ValueError(f"unknown key {key!r}; there are {', '.join(_SETTINGS)}")
        _check(key, value, *_SETTINGS[key])
    base = table.pop("preset", None)
    if base is not None and base not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {base!r}")
    values: dict[str, Any] = {} if base is None else dict(vars(PRESETS[base]))
    own = table.pop("cues", {})
    values |= {key: _converted(key, value) for key, value in table.items()}
    values["name"] = table.get("name", path.stem)
    weights = dict(values.get("weights", {}))
    cues = {}
    for name, cue in own.items():
        _check(f"cues.{name}", cue, (dict,), "a table with the key cue")
        if name in weights:
            raise ValueError(f"cues.{name}: there is a cue {name!r} already")
        cue = dict(cue)
        weights[name] = cue.pop("weight", 1.0)
        _check(f"cues.{name}.weight", weights[name], *_NUMBER)
        cues[name] = _cue(f"cues.{name}", cue, path.parent)
    return Preset(**values | {"weights": weights, "cues": cues})


def _check(key: str, value: Any, types: tuple[type, ...], wanted: str) -> None:
    is_bool = isinstance(value, bool) and bool not in types  # which is an int
    if is_bool or not isinstance(value, types):
        raise ValueError(f"{key} must be {wanted}, got {value!r}")


def _converted(key: str, value: Any) -> Any:
    """Return the value of a key as the field of a preset."""
    if key == "mask_dtype":
        if value not in _DTYPES:
            raise ValueError(f"{key} must be one of {', '.join(_DTYPES)}, got {value!r}")
        return _DTYPES[value]
    if key == "geometry":
        known = [field.name for field in dataclasses.fields(Geometry)]
        for name in set(value) - set(known):
            raise ValueError(f"unknown key 'geometry.{name}'; there are {', '.join(known)}")
        return Geometry(**value)
    if key == "neighbourhood":
        whole = [isinstance(size, int) and not isinstance(size, bool) for size in value]
        if whole != [True, True]:
            raise ValueError(f"{key} must be two whole numbers, got {value!r}")
    if key == "weights":
        for name, weight in value.items():
            _check(f"weights.{name}", weight, *_NUMBER)
    return tuple(value) if isinstance(value, list) else value


def _cue(key: str, table: Mapping[str, Any], folder: Path) -> Cue:
    """Return the cue of a table: what `cue` names, with the other keys as arguments."""
    settings = dict(table)
    name = settings.pop("cue", None)
    _check(f"{key}.cue", name, (str,), "package.module:name or file.py:name")
    cue = import_object(name, folder)
    if isinstance(cue, type):
        try:
            return cue(**settings)
        except Exception as error:  # of any type: it is somebody's code
            raise ValueError(f"{key}: {name} cannot be made: {error}") from error
    if settings and (not callable(cue) or hasattr(cue, "parameters")):
        raise ValueError(f"{key}: {', '.join(settings)}: {name} is neither a class nor a function")
    return functools.partial(cue, **settings) if settings else cue
