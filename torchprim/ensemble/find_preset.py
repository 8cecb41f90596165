"""Presets by name: those that there are, a TOML file, or an object of somebody's module."""

from __future__ import annotations

import os

from torchprim.ensemble.four import FOUR, StemPreset
from torchprim.ensemble.imported import import_object
from torchprim.ensemble.preset_file import read_preset
from torchprim.ensemble.presets import PRESETS, Preset
from torchprim.errors import PresetError


def find_preset(preset: str | os.PathLike[str] | Preset) -> Preset:
    """Return a preset by name; a `Preset` is returned as it is.

    Args:
        preset: `best`, `paper`, `companion`; a file `FILE.toml`, see `read_preset`; or
            `package.module:name` or `file.py:name` of a `Preset`, which runs that code.

    Raises:
        ValueError: for an unknown name, or what cannot be read; of a file or module it is one line,
            "NAME: reason".

    Example:
        >>> from torchprim.ensemble.find_preset import find_preset
        >>> find_preset("best").geometry.bins
        1025
        >>> find_preset("torchprim:HPSS")
        Traceback (most recent call last):
        torchprim.errors.PresetError: torchprim:HPSS: must be a tp.Preset, got a type
    """
    if isinstance(preset, Preset):
        return preset
    name = os.fspath(preset)
    if name in PRESETS:
        return PRESETS[name]
    if name.endswith(".toml"):
        return read_preset(name)
    if ":" in name:
        found = import_object(name)
        if not isinstance(found, Preset):
            raise PresetError(name, f"must be a tp.Preset, got a {type(found).__name__}")
        return found
    raise ValueError(
        f"unknown preset {name!r}; there are {', '.join(PRESETS)}, FILE.toml, and package.module:name or "
        "FILE.py:name"
    )


def find_stem_preset(name: str) -> StemPreset:
    """Return a preset of K sources by name: `four`, or an object of somebody's module.

    Args:
        name: `four`, or `package.module:name` or `file.py:name` of a `StemPreset`, which runs that code.

    Raises:
        ValueError: for an unknown name, or what cannot be imported; of a module it is one line,
            "NAME: reason".

    Example:
        >>> from torchprim.ensemble.find_preset import find_stem_preset
        >>> find_stem_preset("four").sources
        ('drums', 'bass', 'other', 'vocals')
    """
    if name == FOUR.name:
        return FOUR
    if ":" in name:
        found = import_object(name)
        if not isinstance(found, StemPreset):
            raise PresetError(name, f"must be a tp.StemPreset, got a {type(found).__name__}")
        return found
    raise ValueError(
        f"unknown preset of stems {name!r}; there are {FOUR.name}, and package.module:name or FILE.py:name"
    )
