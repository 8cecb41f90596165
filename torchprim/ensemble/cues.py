"""Cues: callables from a `Mixture` to a mask, such as the primitives, and collections of them by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from torchprim import checks
from torchprim.primitives.base import Primitive
from torchprim.primitives.ft2d import FT2D
from torchprim.primitives.long_hpss import LongHPSS, long_hpss_masks
from torchprim.primitives.melody import Melody
from torchprim.primitives.spatial import Spatial
from torchprim.spectra.high_pass import high_pass
from torchprim.spectra.mixture import Mixture

# Mixture -> mask `(..., F, N)` in [0, 1] on the mixture's grid, 1 = vocals.
Cue = Callable[[Mixture], Tensor]
_ROUNDING = 1e-4  # by which a mask may exceed [0, 1]


def check_cue(name: str, cue: Cue) -> None:
    """Check that a cue can be called and is no class, nor a primitive that gives no mask of a magnitude.

    Raises:
        TypeError: that names the cue.

    Example:
        >>> import torchprim as tp
        >>> from torchprim.ensemble.cues import check_cue
        >>> check_cue("repetition", tp.FT2D())
        Traceback (most recent call last):
        TypeError: cue 'repetition': FT2D gives two masks: use PrimitiveCue(FT2D(...), "repetition")
    """
    if not callable(cue) or isinstance(cue, type):
        raise TypeError(f"cue {name!r} must be a function or module of a Mixture, got {cue!r}")
    if isinstance(cue, FT2D):
        raise TypeError(f'cue {name!r}: FT2D gives two masks: use PrimitiveCue(FT2D(...), "repetition")')
    if isinstance(cue, Spatial):
        raise TypeError(f"cue {name!r}: Spatial refines a mask, and is no cue; a preset has its strength")


class Cues(nn.ModuleDict):
    """Cues by name; called with a mixture, they return their masks.

    Args:
        cues: name -> cue, in the order of the masks. A cue that is a module is registered; a primitive of a
            magnitude or of audio, such as `tp.HPSS(9)`, gets the mixture's.

    Raises:
        TypeError: for a cue that cannot be called, or is a class.
        ValueError: for a name of other characters than letters, digits, `_` and `-`, or one that a module
            has already, such as `keys`; when called, for a mask of another shape than the mixture's
            spectrogram or on another device, and, on a CPU, one that is not finite or not in [0, 1].

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.ensemble.cues import Cues
        >>> loud = lambda mixture: (mixture.magnitude() > 1).float()
        >>> cues = Cues({"hpss": tp.HPSS(), "loud": loud})
        >>> masks = cues(tp.Mixture(torch.randn(2, 44100), 44100))
        >>> list(masks), masks["loud"].shape
        (['hpss', 'loud'], torch.Size([2, 1025, 87]))
    """

    def __init__(self, cues: Mapping[str, Cue]) -> None:
        for name, cue in cues.items():
            check_cue(name, cue)
            if not re.fullmatch(r"[\w-]+", name) or name == "names" or hasattr(nn.ModuleDict(), name):
                raise ValueError(f"a cue cannot be named {name!r}")
        super().__init__({name: _module(cue) for name, cue in cues.items()})

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
        masks = {name: cue(mixture) for name, cue in self.items()}
        return {
            name: mask if _is_known(self[name], mask) else _checked(name, mask, mixture)
            for name, mask in masks.items()
        }


def _module(cue: Cue) -> nn.Module:
    """Return a cue as a module of a mixture."""
    if isinstance(cue, LongHPSS):
        return LongHPSSCue(cue)
    if isinstance(cue, Primitive):
        return PrimitiveCue(cue)
    return cue if isinstance(cue, nn.Module) else FunctionCue(cue)


def _is_known(cue: nn.Module, mask: object) -> bool:
    """Return whether a mask is that of a primitive of torchprim, which would be checked in vain."""
    primitive = getattr(cue, "primitive", None)
    own = type(cue).__module__ == __name__ and type(primitive).__module__.startswith("torchprim.primitives.")
    return own and isinstance(mask, Tensor)


def _checked(name: str, mask: Tensor, mixture: Mixture) -> Tensor:
    """Check the mask of a cue; return it in the dtype of the audio, or in float16 where it is that."""
    what, audio, shape = f"mask of cue {name!r}", mixture.audio, mixture.spectrum().shape
    mask = checks.floating(mask, what, 2, "(..., F, N)")
    if mask.shape != shape:
        raise ValueError(f"{what} must have shape {tuple(shape)}, got {tuple(mask.shape)}")
    if mask.device != audio.device:
        raise ValueError(f"{what} must be on {audio.device}, got {mask.device}")
    checks.in_range(mask, what, -_ROUNDING, 1 + _ROUNDING)
    return mask if mask.dtype == torch.float16 else mask.to(audio.dtype)


class FunctionCue(nn.Module):
    """Module of a cue that is a plain function."""

    def __init__(self, function: Cue) -> None:
        super().__init__()
        self.function = function

    def forward(self, mixture: Mixture) -> Tensor:
        return self.function(mixture)

    def extra_repr(self) -> str:
        return getattr(self.function, "__qualname__", type(self.function).__name__)


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
