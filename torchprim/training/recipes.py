"""Recipes: settings of a training, by preset; each has an option of `torchprim train`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch

from torchprim import checks
from torchprim.bootstrap.settings import RemixSettings, option
from torchprim.losses.training_loss import CLUSTERING, MASKING

# Values of the options that are words.
CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"loss": tuple(CLUSTERING), "masking": tuple(MASKING), "precision": ("auto", "bf16", "fp32")}
)


@dataclass(frozen=True)
class Recipe:
    """Settings of a training; the defaults are the paper's where it gives them.

    Args:
        remix: settings of the remix stream.
        steps, rate and so on: an option of `torchprim train` each; `options` lists them with their help.

    Raises:
        ValueError: for a setting out of range.
    """

    remix: RemixSettings = field(default_factory=RemixSettings)
    steps: int = option(62_500, "optimisation steps; 50 epochs of 20,000 sequences in batches of 16")
    rate: float = option(2e-4, "learning rate of Adam")
    final_rate: float = option(1.0, "share of the learning rate left at the end (cosine)")
    loss: str = option("deep", "clustering loss")
    balance: float = option(0.5, "share of the mask's loss where there is an embedding, too")
    masking: str = option("distance", "mask loss; sd-sdr is the metric itself")
    order: int = option(2, "distance: 1: L1 on magnitudes, 2: L2 on phase-sensitive targets")
    cluster_frames: int = option(0, "frames of a sequence embedded for the clustering loss; 0 for all")
    clip: float = option(5.0, "largest norm of the gradient")
    autoclip: float = option(0.0, "percentile of past gradient norms to clip to instead; 0 for none")
    check_every: int = option(1250, "validation interval in steps; the paper's epoch")
    validation_batches: int = option(16, "batches of a validation")
    log_every: int = option(50, "steps between lines on the screen")
    precision: str = option("auto", "auto: bf16 where it is faster")

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be {' or '.join(choices)}, got {getattr(self, name)!r}")
        for name in ("steps", "check_every", "validation_batches", "log_every"):
            checks.integer(getattr(self, name), name, 1)
        checks.integer(self.order, "order", 1, 2)
        checks.integer(self.cluster_frames, "cluster_frames", 0)
        for name in ("rate", "clip"):
            checks.positive(getattr(self, name), name)
        for name in ("balance", "final_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if not 0 <= self.autoclip <= 100:
            raise ValueError(f"autoclip must lie in [0, 100], got {self.autoclip}")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step (cosine schedule)."""
        decay = (1 + math.cos(math.pi * min(1.0, step / self.steps))) / 2
        return self.rate * (self.final_rate + (1 - self.final_rate) * decay)

    def use_bfloat16(self, device: torch.device, kind: str) -> bool:
        """Return whether to train under bf16 autocast; `auto`: on a GPU, and where a CPU gains from it.

        Measured on a CPU with AVX-512 bf16: a step of a recurrent network takes 0.4 times as long, that of
        a U-Net 1.7 times.

        Args:
            device: of the network.
            kind: of the network, `NetworkConfig.kind`.
        """
        if self.precision != "auto":
            return self.precision == "bf16"
        return device.type == "cuda" or (kind == "blstm" and torch.cpu._is_avx512_bf16_supported())

    def to_dict(self) -> dict[str, Any]:
        """Return all options by name, those of the remixes too, as plain values, for a checkpoint."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "remix"}
        return _flatten(self.remix) | values

    def differences(self, other: Mapping[str, Any]) -> str:
        """Describe in one line the options that differ from those of another `to_dict`; empty if none does.

        Example:
            >>> from torchprim.training.recipes import Recipe, find_recipe
            >>> find_recipe("paper", {"frames": 100}).differences(Recipe().to_dict())
            'frames 400 -> 100'
        """
        values = self.to_dict()
        return ", ".join(f"{k} {other.get(k)} -> {v}" for k, v in values.items() if other.get(k) != v)


_FLAGS = ("natural", "bin_confidence")  # 0 or 1 on the command line


def _flatten(remix: RemixSettings) -> dict[str, Any]:
    """Return the settings that have an option, as plain numbers by the option's name."""
    values = {f.name: getattr(remix, f.name) for f in dataclasses.fields(remix) if f.metadata}
    low, high = values.pop("ratio")
    flags = {name: int(values[name]) for name in _FLAGS}
    return values | flags | {"ratio_low": low, "ratio_high": high, "pool": remix.pool or 0}


def _unflatten(values: Mapping[str, Any]) -> RemixSettings:
    """Invert `_flatten`; other names are ignored."""
    fields = {f.name: values[f.name] for f in dataclasses.fields(RemixSettings) if f.name in values}
    flags = {name: bool(values[name]) for name in _FLAGS}
    ratio = values["ratio_low"], values["ratio_high"]
    return RemixSettings(**fields | flags | {"ratio": ratio, "pool": values["pool"] or None})


def options() -> list[tuple[str, type, str, tuple[str, ...] | None]]:
    """List the options of a recipe for a command line: name, type, help text, and choices if it has some."""
    fields = (*dataclasses.fields(RemixSettings), *dataclasses.fields(Recipe))
    helps = {f.name: f.metadata["help"] for f in fields if f.metadata}
    helps |= {f"ratio_{end}": f"{end}est {helps['ratio']}" for end in ("low", "high")}
    values = Recipe().to_dict()
    return [(name, type(value), helps[name], CHOICES.get(name)) for name, value in values.items()]


def find_recipe(preset: str, changes: Mapping[str, Any] = MappingProxyType({})) -> Recipe:
    """Return the recipe of a preset, with options replaced.

    Args:
        preset: one of `RECIPES`.
        changes: new values by name; None stands for the preset's.

    Raises:
        ValueError: for an unknown option, or one out of range.

    Example:
        >>> from torchprim.training.recipes import find_recipe
        >>> find_recipe("paper").remix.frames, find_recipe("paper", {"frames": 100}).remix.frames
        (400, 100)
    """
    values = RECIPES[preset].to_dict()
    unknown = set(changes) - set(values)
    if unknown:
        raise ValueError(f"a recipe has no option {sorted(unknown)[0]!r}")
    return _recipe(values | {name: value for name, value in changes.items() if value is not None})


def _recipe(changes: Mapping[str, Any]) -> Recipe:
    """Invert `Recipe.to_dict`; options that are missing have their defaults."""
    values = Recipe().to_dict() | changes
    fields = {f.name: values[f.name] for f in dataclasses.fields(Recipe) if f.name != "remix"}
    return Recipe(_unflatten(values), **fields)


# Of the small networks; measured in docs/training.md.
_SMALL = {
    "steps": 1500,
    "batch_size": 6,
    "frames": 256,
    "rate": 1e-3,
    "final_rate": 0.05,
    "cluster_frames": 32,
    "coherent": 0.8,
    "natural": 1,
    # On a CPU an estimate costs as much as a step: one every 12 steps takes a tenth of the time.
    "slots": 32,
    "every": 12,
    "check_every": 250,
    "validation_batches": 6,
    "log_every": 10,
}


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "paper": Recipe(),
        "chimera": Recipe(),
        # Cues need some seconds of audio, and take most of a step on a CPU. The cues of a coherent pair are
        # those that its target was made from: few such pairs.
        "small": _recipe(
            _SMALL
            | {"batch_size": 4, "frames": 512, "rate": 2e-3, "coherent": 0.1, "steps": 500}
            | {"slots": 64, "every": 4, "masking": "sd-sdr"}
        ),
        "unet": _recipe(_SMALL | {"eq": 3.0}),
    }
)
