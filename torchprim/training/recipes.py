"""How a network is trained: settings by preset, each of which an option of train.py replaces."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from torchprim import checks


def _option(default: Any, text: str):
    return dataclasses.field(default=default, metadata={"text": text})


@dataclass(frozen=True)
class Recipe:
    """Settings of a training; the defaults are the paper's where it gives them."""

    steps: int = _option(62_500, "optimisation steps; 50 epochs of 20,000 sequences in batches of 16")
    batch_size: int = _option(16, "sequences a batch, on each device")
    frames: int = _option(400, "STFT frames a sequence")
    rate: float = _option(2e-4, "learning rate of Adam")
    final_rate: float = _option(1.0, "share of the learning rate left at the end (cosine)")
    loss: str = _option("deep", "clustering loss: deep or whitened")
    balance: float = _option(0.5, "share of the mask's loss where there is an embedding, too")
    masking: str = _option("distance", "mask loss: distance, or sd-sdr, the metric itself")
    order: int = _option(2, "distance: 1 of magnitudes, 2 of what a mask can reach of complex spectra")
    cluster_frames: int = _option(0, "frames of a sequence embedded for the clustering loss; 0 for all")
    clip: float = _option(5.0, "gradient norm that is clipped to")
    autoclip: float = _option(0.0, "percentile of past gradient norms to clip to instead; 0 for none")
    coherent: float = _option(0.0, "share of pairs from one and the same excerpt")
    ratio_low: float = _option(-2.5, "lowest level of vocals to accompaniment in dB")
    ratio_high: float = _option(2.5, "highest level of vocals to accompaniment in dB")
    natural: int = _option(0, "1: the ratio is a change of the estimates' own levels")
    eq: float = _option(0.0, "standard deviation in dB of a random equaliser of each source")
    speed: float = _option(0.0, "largest relative change of speed of each source")
    bin_confidence: int = _option(0, "1: weights times the teacher's posterior strength of each bin")
    pool: int = _option(0, "number of fixed remixes (the paper: 20000); 0 for ever new ones")
    slots: int = _option(128, "segments whose estimates are kept on the device")
    every: int = _option(4, "steps from one renewal of an estimate to the next")
    teacher_batch: int = _option(4, "segments that the teacher separates at a time")
    check_every: int = _option(1250, "steps from one validation to the next; the paper's epoch")
    validation_batches: int = _option(16, "batches of a validation")
    log_every: int = _option(50, "steps from one line on the screen to the next")
    precision: str = _option("auto", "auto, bf16 or fp32")

    def __post_init__(self) -> None:
        if self.precision not in ("auto", "bf16", "fp32"):
            raise ValueError(f"precision must be auto, bf16 or fp32, got {self.precision!r}")
        if self.loss not in ("deep", "whitened"):
            raise ValueError(f"loss must be deep or whitened, got {self.loss!r}")
        if self.masking not in ("distance", "sd-sdr"):
            raise ValueError(f"masking must be distance or sd-sdr, got {self.masking!r}")
        counts = ("steps", "batch_size", "frames", "slots", "every", "teacher_batch")
        for name in (*counts, "check_every", "validation_batches", "log_every"):
            checks.integer(getattr(self, name), name, 1)
        checks.integer(self.order, "order", 1, 2)
        for name in ("cluster_frames", "pool"):
            checks.integer(getattr(self, name), name, 0)
        for name in ("rate", "clip"):
            checks.positive(getattr(self, name), name)
        for name in ("balance", "final_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if not 0 <= self.autoclip <= 100:
            raise ValueError(f"autoclip must lie in [0, 100], got {self.autoclip}")

    def stream_settings(self) -> dict[str, Any]:
        """The arguments of `RemixStream` that a recipe fixes."""
        return {
            "ratio": (self.ratio_low, self.ratio_high),
            "natural": bool(self.natural),
            "coherent": self.coherent,
            "eq": self.eq,
            "speed": self.speed,
            "bin_confidence": bool(self.bin_confidence),
            "pool": self.pool or None,
            "slots": self.slots,
            "every": self.every,
            "teacher_batch": self.teacher_batch,
        }

    def rate_at(self, step: int) -> float:
        """Learning rate of a step."""
        left = (1 + math.cos(math.pi * min(1.0, step / self.steps))) / 2
        return self.rate * (self.final_rate + (1 - self.final_rate) * left)

    def use_bfloat16(self, device: torch.device, kind: str) -> bool:
        """Whether a network of a kind runs under bf16 autocast: on a GPU, and where a CPU gains from it.

        Measured on a CPU with AVX-512 bf16: a recurrent network's step takes 0.4 of the time, a U-Net's
        1.7 times as long.
        """
        if self.precision != "auto":
            return self.precision == "bf16"
        return device.type == "cuda" or (kind == "blstm" and torch.cpu._is_avx512_bf16_supported())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return dataclasses.asdict(self)

    def differences(self, other: Mapping[str, Any]) -> str:
        """What is not as in a recipe that `to_dict` wrote, in one line; empty where all is.

        Example:
            >>> from torchprim.training.recipes import Recipe
            >>> Recipe(frames=100).differences(Recipe().to_dict())
            'frames 400 -> 100'
        """
        mine = self.to_dict()
        return ", ".join(f"{k} {other.get(k)} -> {v}" for k, v in mine.items() if other.get(k) != v)


# What the small networks gain from, see docs/training.md.
_SMALL = {
    "steps": 1500,
    "batch_size": 6,
    "frames": 256,
    "rate": 1e-3,
    "final_rate": 0.05,
    "cluster_frames": 32,
    "coherent": 0.8,
    "natural": 1,
    # On a CPU an estimate costs as much as a step: the teacher takes a tenth of the time.
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
        # The cues of a remix want some seconds of it; they take most of a step's time on a CPU. Where a
        # remix is of one and the same excerpt, its cues are its target's: little is learnt.
        "small": Recipe(
            **_SMALL
            | {"batch_size": 4, "frames": 512, "rate": 2e-3, "coherent": 0.1, "steps": 500}
            | {"slots": 64, "every": 4, "masking": "sd-sdr"}
        ),
        "unet": Recipe(**_SMALL | {"eq": 3.0}),
    }
)


def options() -> list[tuple[str, type, str]]:
    """Name, type and text of each setting, for a command line."""
    types = {"int": int, "float": float, "str": str}
    return [(f.name, types[str(f.type)], f.metadata["text"]) for f in dataclasses.fields(Recipe)]


def find_recipe(preset: str, given: Any = None) -> Recipe:
    """A preset's recipe; attributes of `given` that are not None take the place of its own.

    Example:
        >>> from types import SimpleNamespace
        >>> from torchprim.training.recipes import find_recipe
        >>> find_recipe("paper").frames, find_recipe("paper", SimpleNamespace(frames=100)).frames
        (400, 100)
    """
    changes = {name: getattr(given, name, None) for name, *_ in options()}
    changes = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(RECIPES[preset], **changes)
