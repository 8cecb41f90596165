"""Cues: callables from a `Mixture` to a mask, such as the primitives, and collections of them by name."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from torchprim.primitives.base import Primitive
from torchprim.primitives.long_hpss import LongHPSS, long_hpss_masks
from torchprim.primitives.melody import Melody
from torchprim.spectra.high_pass import high_pass
from torchprim.spectra.mixture import Mixture

# Mixture -> mask `(..., F, N)` in [0, 1] on the mixture's grid, 1 = vocals.
Cue = Callable[[Mixture], Tensor]


class Cues(nn.ModuleDict):
    """Cues by name; called with a mixture, they return their masks.

    Args:
        cues: name -> cue, in the order of the masks. A cue that is a module is registered.

    Raises:
        TypeError: for a cue that cannot be called, or is a class.

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
        for name, cue in cues.items():
            if not callable(cue) or isinstance(cue, type):
                raise TypeError(f"cue {name!r} must be a function or module of a Mixture, got {cue!r}")
        modules = {
            name: cue if isinstance(cue, nn.Module) else _FunctionCue(cue) for name, cue in cues.items()
        }
        super().__init__(modules)

    if TYPE_CHECKING:  # the modules are of any class

        def __getitem__(self, key: str) -> Any: ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cues, in the order of the masks."""
        return tuple(self.keys())

    def forward(self, mixture: Mixture) -> dict[str, Tensor]:
        """Compute the mask of each cue, `(..., F, N)`, by name."""
        # One after the other. The melody on a second stream of an H200 was slower by 6 % for 16 x 30 s and
        # faster by 4 % for 64: the path of the pitch waits longer where it shares multiprocessors.
        return {name: cue(mixture) for name, cue in self.items()}


class _FunctionCue(nn.Module):
    """Module of a cue that is a plain function."""

    def __init__(self, function: Cue) -> None:
        super().__init__()
        self.function = function

    def forward(self, mixture: Mixture) -> Tensor:
        return self.function(mixture)

    def extra_repr(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


class PrimitiveCue(nn.Module):
    """Cue of a primitive that reads the magnitude spectrogram; its result is cached in the mixture.

    Args:
        primitive: such as `tp.HPSS()`.
        field: field of the result, for a primitive that returns several masks, such as `repetition` of
            `tp.FT2D()`.
    """

    def __init__(self, primitive: Primitive, field: str | None = None) -> None:
        super().__init__()
        self.primitive, self.field = primitive, field

    def forward(self, mixture: Mixture) -> Tensor:
        result = mixture.cached(self.primitive.cache_key, lambda: self.primitive(mixture.magnitude()))
        return result if self.field is None else getattr(result, self.field)


class LongHPSSCue(nn.Module):
    """Cue of `LongHPSS`. Its mask without the high-pass is computed along: the melody is weighted by it.

    Args:
        primitive: its geometry is that of the mixtures.
    """

    def __init__(self, primitive: LongHPSS) -> None:
        super().__init__()
        self.primitive = primitive

    def forward(self, mixture: Mixture) -> Tensor:
        return self._masks(mixture)[-1]

    def full_band(self, mixture: Mixture) -> Tensor:
        """Compute the mask without the high-pass, `(..., F, N)`, cached."""
        return self._masks(mixture)[0]

    @property
    def full_band_key(self) -> Hashable:
        """Cache key of the mask without the high-pass."""
        return LongHPSS, *(self.primitive.settings | {"cutoff": 0.0}).items()

    def _masks(self, mixture: Mixture) -> Tensor:
        """Compute the masks without and, if there is one, with the high-pass, `(K, ..., F, N)`, cached."""

        def compute() -> Tensor:
            audio, grid = mixture.audio, mixture.geometry
            settings = self.primitive.settings | {"geometry": grid, "spectrum": mixture.spectrum()}
            cutoff, smooth = settings.pop("cutoff"), settings.pop("smooth")
            cutoffs = [0.0, cutoff] if isinstance(cutoff, Tensor) or cutoff else [0.0]
            gains = [high_pass(grid.bins, grid.sample_rate, c, smooth, like=audio) for c in cutoffs]
            return long_hpss_masks(audio, torch.cat(gains, -1).mT, **settings)

        return mixture.cached(self.primitive.cache_key, compute)


class MelodyCue(nn.Module):
    """Cue of `Melody`, weighted by long-window HPSS, which is high where the pitch moves.

    Args:
        primitive: the melody.
        weight: cue whose mask without the high-pass is the weight: the low harmonics matter.
    """

    def __init__(self, primitive: Melody, weight: LongHPSSCue) -> None:
        super().__init__()
        self.primitive, self.weight = primitive, weight

    def forward(self, mixture: Mixture) -> Tensor:
        weight = self.weight.full_band(mixture)
        key = (self.primitive.cache_key, self.weight.full_band_key)
        return mixture.cached(key, lambda: self.primitive(mixture.magnitude(), weight, mixture.loudest()))
