"""Options of a training: those of its data, its network and its recipe, with each preset's values."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from typing import Any

from torchprim.bootstrap.settings import RemixSettings
from torchprim.cli import option_types
from torchprim.cli.device import DEVICES
from torchprim.cli.option_types import PRESET_NAMES, number, seed, threads
from torchprim.ensemble.four import FOUR
from torchprim.networks.config import NETWORKS, NetworkConfig
from torchprim.sources import TWO
from torchprim.training.data import DataSettings
from torchprim.training.recipes import RECIPES, Recipe, find_recipe, options

DESCRIPTION = """\
Train a separation network from a folder of music, with no isolated recordings.

    torchprim train --audio MUSIC --out RUN                         bootstrap from the primitives
    torchprim train --resume RUN                                    go on after a stop
    torchprim train --audio MUSIC --out RUN2 --teacher RUN/best.pt  a second generation
    torchprim train --stems MUSDB18/train --out GT                  the ceiling: true stems
    torchprim train --audio MUSIC --stems FEW --out RUN             both, mixed
    torchprim train --audio MUSIC --sources four --out RUN          drums, bass, other and vocals
    torchprim train --audio MUSIC --stems FEW --stems-share 0 ...   true stems for validation alone
    torchrun --nproc_per_node 4 -m torchprim train --audio MUSIC --out RUN

Every song is cut into segments; a teacher separates them and says how far each can be trusted; estimates
of trusted segments are remixed across songs while the network learns from them. RUN holds `best.pt` and
`last.pt` (for `torchprim separate --checkpoint`), `settings.json`, `labels.jsonl`, `songs.jsonl`,
`log.jsonl`, `examples/`, and `report.html`, a page that tells how it goes, rewritten at each validation.
It may lie inside the music: what torchprim wrote is left out.
"""
_DATA = DataSettings()
# Of the options that are not the preset's: None, where it is the preset's value that holds.
DEFAULTS: dict[str, Any] = {
    "audio": [],
    "stems": [],
    "teacher": _DATA.teacher,
    "teacher_preset": None,
    "sources": TWO,
    "labels": _DATA.labels,
    "quietest": _DATA.quietest,
    "low": _DATA.quantiles[0],
    "high": _DATA.quantiles[1],
    "stems_share": _DATA.stems_share,
    "validation": _DATA.validation,
    "bank": _DATA.residence,
    "cache": _DATA.cache,
    "preset": "small",
    "seed": 0,
    "device": "auto",
    "threads": None,
    "anyway": False,
}
# name -> type and help
NETWORK_OPTIONS: dict[str, tuple[Any, str]] = {
    "layers": (int, "bidirectional LSTM layers, or convolutions of the U-Net"),
    "hidden": (int, "cells of an LSTM layer in each direction"),
    "channels": (int, "of the U-Net's first layer"),
    "fine": (int, "lowest bins at full resolution in the U-Net; 0 for all"),
    "context": (lambda word: bool(int(word)), "1: the U-Net sees means over all frames and all bins"),
    "dropout": (number, "share of what is dropped"),
    "cues": (str, "preset of the primitives whose masks the U-Net sees, or nothing"),
    "heads": (lambda words: tuple(words.split(",")), "embedding, mask, or both with a comma"),
}
_REMIX_NAMES = {"ratio_low", "ratio_high", *(f.name for f in dataclasses.fields(RemixSettings))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; one that is not given is absent from the parsed namespace, see `complete`."""
    parser.usage = "%(prog)s [--audio FOLDER ...] [--stems ROOT ...] --out RUN [options, see --help]"
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.argument_default = argparse.SUPPRESS

    add = parser.add_argument_group("music").add_argument
    add("--audio", nargs="+", metavar="FOLDER", help="music without stems")
    add("--stems", nargs="+", metavar="ROOT", help="songs with stems: MUSDB18 or wav folders")
    add("--teacher", metavar="pcl|CHECKPOINT", help="who separates the music (pcl)")
    add(
        "--sources",
        type=option_types.sources,
        metavar="SOURCES",
        help="two: vocals, accompaniment; four: drums, bass, other, vocals; or names with commas (two)",
    )
    add(
        "--teacher-preset",
        type=option_types.any_preset,
        metavar="PRESET",
        help=f"of pcl: {PRESET_NAMES} of your own (best); of other sources than two: four, or "
        "package.module:name or FILE.py:name of a tp.StemPreset (four)",
    )
    add("--labels", metavar="FILE", help="labels made before (RUN/labels.jsonl)")
    add("--quietest", type=number, metavar="LUFS", help="least loudness of a segment (-40)")
    add("--low", type=number, help="quantile of confidence from which segments are trusted (0.25)")
    add("--high", type=number, help="quantile up to which they are (1)")
    add("--stems-share", type=number, help="share of batches with true stems (0.5)")
    add("--validation", type=number, help="share of songs held out (0.1)")
    add("--bank", choices=("auto", "device", "pinned"), help="memory of decoded songs (auto)")
    add("--cache", metavar="FOLDER", help="decoded songs (the user's cache folder: `torchprim cache`)")

    add = parser.add_argument_group("run").add_argument
    add("-o", "--out", metavar="RUN", help="folder of the run")
    add(
        "--resume",
        nargs="?",
        const=True,
        metavar="RUN",
        help="go on from RUN/last.pt (with none, start); its settings are read from RUN/settings.json, "
        "options given again change them",
    )
    add("--preset", choices=NETWORKS, help="network and recipe (small)")
    add("--seed", type=seed, help="of every random choice (0)")
    add("--device", choices=DEVICES, help="(auto)")
    add("--threads", type=threads, help="CPU threads")
    add("--anyway", action="store_true", help="train on a CPU also what would take days")

    add = parser.add_argument_group("network", "In brackets: the preset's values.").add_argument
    for name, (convert, text) in NETWORK_OPTIONS.items():
        values = {preset: getattr(config, name) for preset, config in NETWORKS.items()}
        add(f"--{name}", type=convert, help=f"{text} ({preset_values(values)})")
    groups = {
        True: parser.add_argument_group("remixes", "In brackets: the preset's values."),
        False: parser.add_argument_group("optimisation", "In brackets: the preset's values."),
    }
    recipes = {preset: recipe.to_dict() for preset, recipe in RECIPES.items()}
    for name, convert, text, choices in options():
        values = {preset: recipe[name] for preset, recipe in recipes.items()}
        groups[name in _REMIX_NAMES].add_argument(
            f"--{name.replace('_', '-')}",
            type=number if convert is float else convert,
            choices=choices,
            help=f"{text} ({preset_values(values)})",
        )


def preset_values(values: Mapping[str, Any]) -> str:
    """Format the value of each preset, equal ones together.

    Example:
        >>> from torchprim.cli.train.options import preset_values
        >>> preset_values({"paper": 4, "small": 5, "chimera": 4}), preset_values({"paper": 4, "small": 4})
        ('paper, chimera: 4; small: 5', '4')
    """
    names: dict[str, list[str]] = {}
    for preset, value in values.items():
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        names.setdefault(text or "none", []).append(preset)
    if len(names) == 1:
        return next(iter(names))
    return "; ".join(f"{', '.join(presets)}: {text}" for text, presets in names.items())


def complete(given: Mapping[str, Any]) -> argparse.Namespace:
    """Return all options: what is not given has its default, None where the preset's value holds."""
    names = [*NETWORK_OPTIONS, *(name for name, *_ in options())]
    args = argparse.Namespace(**(DEFAULTS | dict.fromkeys(names) | dict(given)))
    args.teacher_preset = args.teacher_preset or _preset_of(args.sources)
    return args


def _preset_of(sources: tuple[str, ...]) -> str:
    """Return the name of the ensemble that there is of some sources; none, empty."""
    return {TWO: _DATA.teacher_preset, FOUR.sources: FOUR.name}.get(sources, "")


def network_config(args: argparse.Namespace) -> NetworkConfig:
    """Return the preset's network of the sources, with the options given replaced.

    Of other sources than two it sees the masks of their own ensemble, where there is one.
    """
    changes = {name: getattr(args, name) for name in NETWORK_OPTIONS if getattr(args, name) is not None}
    config = NETWORKS[args.preset]
    if config.cues and args.sources != TWO:
        changes = {"cues": _preset_of(args.sources)} | changes
    return dataclasses.replace(config, sources=args.sources, **changes)


def recipe_of(args: argparse.Namespace) -> Recipe:
    """Return the preset's recipe, with the options given replaced."""
    return find_recipe(args.preset, {name: getattr(args, name) for name, *_ in options()})


def data_settings(args: argparse.Namespace) -> DataSettings:
    """Return the settings of the data."""
    return DataSettings(
        audio=tuple(args.audio),
        stems=tuple(args.stems),
        teacher=args.teacher,
        teacher_preset=args.teacher_preset,
        sources=args.sources,
        labels=args.labels,
        quantiles=(args.low, args.high),
        stems_share=args.stems_share,
        validation=args.validation,
        residence=args.bank,
        cache=args.cache,
        quietest=args.quietest,
    )
