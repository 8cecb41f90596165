"""The rows of a comparison: baselines, primitives, ensembles and trained networks, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchprim.ensemble.presets import PRESETS
from torchprim.evaluation.songs import Song
from torchprim.metrics.baselines import baseline_estimates
from torchprim.separators.load import load
from torchprim.separators.primitive import METHODS, PrimitiveSeparator
from torchprim.version import __version__

# name on the command line -> name of `baseline_estimates`
BASELINES = {"mixture": "mixture", "null": "null", "irm": "ideal mask"}


class Method(NamedTuple):
    """One row: its name, what identifies its results, and the separator (None for a baseline)."""

    name: str
    identity: str
    separator: nn.Module | None

    @torch.no_grad()
    def estimate(self, song: Song) -> Tensor:
        """Estimates `(2, C, T)` of a song's sources, vocals first."""
        if self.separator is None:
            pair = baseline_estimates(*song.sources, song.sample_rate)[BASELINES[self.name]]
            return torch.stack(pair)
        found = self.separator(song.mixture, song.sample_rate, channels=True)
        return torch.stack([found.vocals, found.accompaniment])


def find_method(name: str, preset: str = "best", device: str | torch.device = "cpu") -> Method:
    """A method by its name on the command line.

    Args:
        name: `mixture`, `null`, `irm`; `pcl` or a primitive, with the settings of `preset`, or of the
            preset after a colon (`pcl:paper`); a checkpoint `RUN/best.pt`; or `pcl+RUN/best.pt`, the
            ensemble with the network as one more cue.
        preset: of the primitives.
        device: where it computes.

    Raises:
        ValueError: for a name that is none of these.
        CheckpointError: for a checkpoint that cannot be used.

    Example:
        >>> from torchprim.evaluation.methods import find_method
        >>> find_method("pcl:paper").separator.preset.name
        'paper'
    """
    if name in BASELINES:
        return Method(name, f"{name} {__version__}", None)
    word, _, own = name.partition(":")
    if word in METHODS and (not own or own in PRESETS):
        separator: nn.Module = PrimitiveSeparator(own or preset, word)
    elif name.startswith("pcl+") and name.endswith(".pt"):
        separator = load(name.removeprefix("pcl+")).with_primitives(preset)
    elif name.endswith(".pt"):
        separator = load(name)
    else:
        raise ValueError(
            f"unknown method {name!r}; there are {', '.join((*BASELINES, *METHODS))}, METHOD:PRESET with "
            f"{', '.join(sorted(PRESETS))}, a checkpoint FILE.pt, and pcl+FILE.pt"
        )
    return Method(name, separator.identity, separator.to(device).eval())


def find_methods(
    names: Sequence[str], preset: str = "best", device: str | torch.device = "cpu"
) -> list[Method]:
    """Methods in the given order, each once.

    Raises:
        ValueError: for an unknown name, or none.
        CheckpointError: for a checkpoint that cannot be used.
    """
    names = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    if not names:
        raise ValueError("methods must name at least one, got none")
    return [find_method(name, preset, device) for name in names]
