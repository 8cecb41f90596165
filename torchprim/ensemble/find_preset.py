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
        torchprim.errors.PresetError: torchprim:HPSS: must be a tp.Preset or a tp.StemPreset, got a type
    """
    found = preset if isinstance(preset, (Preset, StemPreset)) else find_any_preset(os.fspath(preset))
    if isinstance(found, StemPreset):
        given = f"a StemPreset of {', '.join(found.sources)}, which is of a tp.StemSeparator"
        raise ValueError(f"preset must be a tp.Preset, got {given}")
    return found


def find_stem_preset(preset: str | StemPreset) -> StemPreset:
    """Return a preset of K sources by name: `four`, or an object of somebody's module.

    Args:
        preset: `four`, or `package.module:name` or `file.py:name` of a `StemPreset`, which runs that code; a
            `StemPreset` is returned as it is.

    Raises:
        ValueError: for an unknown name, or what cannot be imported; of a module it is one line,
            "NAME: reason".

    Example:
        >>> from torchprim.ensemble.find_preset import find_stem_preset
        >>> find_stem_preset("four").sources
        ('drums', 'bass', 'other', 'vocals')
    """
    if isinstance(preset, StemPreset):
        return preset
    if not isinstance(preset, str):
        raise ValueError(f"preset must be a StemPreset or its name, got {preset!r}")
    if preset == FOUR.name or ":" in preset:
        found = find_any_preset(preset)
        if not isinstance(found, StemPreset):
            raise PresetError(preset, f"must be a tp.StemPreset, got a {type(found).__name__}")
        return found
    raise ValueError(
        f"unknown preset of stems {preset!r}; there are {FOUR.name}, and package.module:name or FILE.py:name"
    )


def find_any_preset(name: str) -> Preset | StemPreset:
    """Return a preset by name, of two sources or of K.

    Raises:
        ValueError: as `find_preset`.

    Example:
        >>> from torchprim.ensemble.find_preset import find_any_preset
        >>> find_any_preset("paper").name, find_any_preset("four").sources[0]
        ('paper', 'drums')
    """
    if name == FOUR.name:
        return FOUR
    if name in PRESETS:
        return PRESETS[name]
    if name.endswith(".toml"):
        return read_preset(name)
    if ":" in name:
        found = import_object(name)
        if not isinstance(found, (Preset, StemPreset)):
            kinds = "must be a tp.Preset or a tp.StemPreset"
            raise PresetError(name, f"{kinds}, got a {type(found).__name__}")
        return found
    raise ValueError(
        f"unknown preset {name!r}; there are {', '.join(PRESETS)}, FILE.toml, and package.module:name or "
        "FILE.py:name"
    )
