"""Presets of the ensemble: the paper's, that of its authors' later code, and the best measured here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch

from torchprim import checks
from torchprim.ensemble.cues import Cue, Cues
from torchprim.kernels.mask_dtype import mask_dtype
from torchprim.primitives.hpss import filter_lengths
from torchprim.spectra.stft import Geometry

PRIMITIVES = ("hpss", "long-hpss", "2dft-r", "2dft-m", "melody", "repet-sim")
_TAKEN = ("pcl", "network")  # by the ensemble among the methods, by a network among the masks


@dataclass(frozen=True)
class Preset:
    """Settings of an ensemble: STFT grid, cues with their weights, and the cues' settings.

    Args:
        name: label of the results.
        weights: name of a cue -> its weight in equation 1.
        geometry: STFT grid of the masks.
        beta: hardness in equation 1.
        neighbourhood: (scales, rates) of the 2DFT's peak picking.
        kernel_size: length of the median filters of `hpss`.
        cutoff: high-pass in Hz.
        smooth: high-pass as a raised cosine in log frequency instead of a step.
        cut: names of the cues with a high-pass.
        mask_dtype: in which the cues' masks are stored, `torch.float16` or `torch.float32`; by default that
            of the audio. Float16 halves what a GPU moves from cues to clustering, and passes no gradient on.
        spatial: strength of the spatial cue, which refines the mask of stereo recordings; 0 for none.
        cues: your own cues by name: a function or module from a `Mixture` to a mask, or a primitive with
            other settings, such as `tp.HPSS(9)`. Each has a weight. Separators share a module.

    Raises:
        ValueError: for an unknown cue, one without a weight or with the name of a primitive, a negative
            weight, no weight above 0, or a setting out of range.
        TypeError: for a cue that cannot be called.

    Example:
        >>> import torchprim as tp
        >>> sorted(tp.PRESETS), tp.PRESETS["paper"].beta
        (['best', 'companion', 'paper'], 5.0)
        >>> wide = tp.PRESETS["best"].plus("hpss-9", tp.HPSS(9), weight=0.5)
        >>> wide.name, list(wide.active_weights)[-2:]
        ('best+hpss-9', ['long-hpss', 'hpss-9'])
    """

    name: str
    weights: Mapping[str, float]
    geometry: Geometry = field(default_factory=Geometry)
    beta: float = 2.5
    neighbourhood: tuple[int, int] = (1, 35)
    kernel_size: int = 17
    cutoff: float = 200.0
    smooth: bool = True
    cut: tuple[str, ...] = PRIMITIVES
    mask_dtype: torch.dtype | None = None
    spatial: float = 2.0
    cues: Mapping[str, Cue] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name in ("weights", "cues"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        for name, cue in self.cues.items():
            if name in (*PRIMITIVES, *_TAKEN):
                raise ValueError(f"cue {name!r} has the name of one that there is; name it otherwise")
            if name not in self.weights:
                raise ValueError(f"weights must name the cue {name!r}, got {', '.join(self.weights)}")
            Cues({name: cue})  # checks both
        known = (*PRIMITIVES, *self.cues)
        for cue in (*self.weights, *self.cut):
            if cue not in known:
                raise ValueError(f"unknown primitive {cue!r}; there are {', '.join(known)}")
        if not self.weights:
            raise ValueError("weights must name at least one primitive, got none")
        if min(self.weights.values()) < 0 or not 0 < sum(self.weights.values()) < math.inf:
            raise ValueError(f"weights must not be negative and not all 0, got {dict(self.weights)}")
        checks.positive(self.beta, "beta")
        checks.not_negative(self.cutoff, "cutoff")
        filter_lengths(self.kernel_size)
        mask_dtype(self.mask_dtype, torch.float32)
        checks.not_negative(self.spatial, "spatial")

    def plus(self, name: str, cue: Cue, weight: float = 1.0) -> Preset:
        """Return this ensemble with a cue of your own in addition, named `PRESET+NAME`.

        Args:
            name: of the cue.
            cue: as in `cues`.
            weight: in equation 1.
        """
        weights, cues = {**self.weights, name: weight}, {**self.cues, name: cue}
        if name in self.weights:
            raise ValueError(f"there is a cue {name!r} already")
        return dataclasses.replace(self, name=f"{self.name}+{name}", weights=weights, cues=cues)

    @property
    def active_weights(self) -> dict[str, float]:
        """Weights of the cues that are computed: those above 0."""
        return {name: weight for name, weight in self.weights.items() if weight > 0}

    def __reduce__(self) -> tuple[Callable[..., Preset], tuple[Any, ...]]:
        # A read-only mapping can neither be copied nor pickled.
        values = (getattr(self, f.name) for f in dataclasses.fields(self))
        return Preset, tuple(dict(v) if isinstance(v, MappingProxyType) else v for v in values)


_2DFT = ("2dft-r", "2dft-m")

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "paper": Preset(
            "paper",
            weights={"2dft-r": 1.0, "2dft-m": 1.0, "melody": 1.0, "hpss": 1.0},
            beta=5.0,
            neighbourhood=(1, 25),
            kernel_size=31,
            cutoff=100.0,
            smooth=False,
            cut=_2DFT,
            spatial=0.0,
        ),
        "companion": Preset(
            "companion",
            weights={"2dft-r": 3.0, "2dft-m": 1.0, "melody": 2.0, "hpss": 1.0},
            geometry=Geometry(16000, 512, 128, "sqrt_hann"),
            kernel_size=31,
            cutoff=250.0,
            smooth=False,
            cut=_2DFT,
            spatial=0.0,
        ),
        "best": Preset(
            "best",
            weights={"2dft-r": 1.0, "2dft-m": 1.0, "melody": 2.0, "hpss": 2.0, "long-hpss": 2.0},
        ),
    }
)
