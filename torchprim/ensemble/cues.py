"""A cue is anything that turns a `Mixture` into a mask; primitives as cues; and several cues by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from torchprim.primitives.base import Primitive
from torchprim.primitives.long_hpss import LongHPSS, long_hpss
from torchprim.primitives.melody import Melody
from torchprim.spectra.high_pass import high_pass
from torchprim.spectra.mixture import Mixture

# Mixture -> mask `(..., F, N)` in [0, 1] on the mixture's grid, 1 = vocals.
Cue = Callable[[Mixture], Tensor]


class Cues(nn.ModuleDict):
    """Compute the masks of named cues.

    Args:
        cues: by name, in the order of the result. A cue that is a module is registered.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.ensemble.cues import Cues, PrimitiveCue
        >>> loud = lambda mixture: (mixture.magnitude() > 1).float()
        >>> cues = Cues({"hpss": PrimitiveCue(tp.HPSS()), "loud": loud})
        >>> masks = cues(tp.Mixture(torch.randn(2, 44100), 44100))
        >>> list(masks), masks["loud"].shape
        (['hpss', 'loud'], torch.Size([2, 1025, 87]))
    """

    def __init__(self, cues: Mapping[str, Cue]) -> None:
        super().__init__({n: c if isinstance(c, nn.Module) else _FunctionCue(c) for n, c in cues.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """The cues' names, in the order of the masks."""
        return tuple(self.keys())

    def forward(self, mixture: Mixture) -> dict[str, Tensor]:
        return {name: cue(mixture) for name, cue in self.items()}


class _FunctionCue(nn.Module):
    def __init__(self, function: Cue) -> None:
        super().__init__()
        self.function = function

    def forward(self, mixture: Mixture) -> Tensor:
        return self.function(mixture)

    def extra_repr(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


class PrimitiveCue(nn.Module):
    """Use a primitive of the magnitude spectrogram as a cue.

    Args:
        primitive: such as `tp.HPSS()`.
        field: name of the mask, of a primitive that returns several, such as `repetition` of `tp.FT2D()`.
    """

    def __init__(self, primitive: Primitive, field: str | None = None) -> None:
        super().__init__()
        self.primitive, self.field = primitive, field

    def forward(self, mixture: Mixture) -> Tensor:
        masks = mixture.once(self.primitive.cache_key, lambda: self.primitive(mixture.magnitude()))
        return masks if self.field is None else getattr(masks, self.field)


class LongHPSSCue(nn.Module):
    """Use long-window HPSS as a cue; its mask without the high-pass is computed once and shared."""

    def __init__(self, primitive: LongHPSS) -> None:
        super().__init__()
        self.primitive = primitive

    @property
    def _uncut_settings(self) -> dict[str, Any]:
        return self.primitive.settings | {"cutoff": 0.0}

    @property
    def uncut_key(self) -> tuple:
        """Cache key of the mask without the high-pass."""
        return "LongHPSS", *self._uncut_settings.items()

    def uncut(self, mixture: Mixture) -> Tensor:
        """The mask without the high-pass."""

        def compute() -> Tensor:
            return long_hpss(mixture.audio, **self._uncut_settings, spectrum=mixture.spectrum())

        return mixture.once(self.uncut_key, compute)

    def forward(self, mixture: Mixture) -> Tensor:
        mask, p = self.uncut(mixture), self.primitive
        return mask * high_pass(mask.shape[-2], mixture.geometry.sample_rate, p.cutoff, p.smooth, like=mask)


class MelodyCue(nn.Module):
    """Use the melody as a cue, weighted by long-window HPSS, which tells a moving voice from held notes."""

    def __init__(self, primitive: Melody, weight: LongHPSSCue) -> None:
        super().__init__()
        self.primitive, self.weight = primitive, weight

    def forward(self, mixture: Mixture) -> Tensor:
        weight = self.weight.uncut(mixture)  # with the low harmonics
        key = (self.primitive.cache_key, self.weight.uncut_key)
        return mixture.once(key, lambda: self.primitive(mixture.magnitude(), weight))
