"""The primitives of an ensemble, set up from a preset and fed from a `Mixture`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from torch import Tensor, nn

from torchprim.ensemble.presets import Preset
from torchprim.primitives.ft2d import FT2D, FT2DMasks
from torchprim.primitives.hpss import HPSS
from torchprim.primitives.long_hpss import LongHPSS
from torchprim.primitives.melody import Melody
from torchprim.primitives.repet_sim import RepetSim
from torchprim.spectra.high_pass import high_pass
from torchprim.spectra.mixture import Mixture

# The long window spans 0.37 s: 16384 samples at 44.1 kHz, the nearest power of two elsewhere.
_LONG_WINDOW_SECONDS = 16384 / 44100


def _key(*primitives: nn.Module) -> tuple:
    """What a mask is kept under: two ensembles of one mixture share what has the same settings in both."""
    return tuple((type(p).__name__, *p.settings.items()) for p in primitives)


class Cues(nn.Module):
    """The named primitives with a preset's settings: a `Mixture` in, their masks by name out.

    Args:
        names: primitives, in the order of the result.
        preset: their settings.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.ensemble.cues import Cues
        >>> cues = Cues(["hpss", "2dft-r"], tp.PRESETS["best"])
        >>> masks = cues(tp.Mixture(torch.randn(2, 44100), 44100))
        >>> list(masks), masks["hpss"].shape
        (['hpss', '2dft-r'], torch.Size([2, 1025, 87]))
    """

    def __init__(self, names: Iterable[str], preset: Preset) -> None:
        super().__init__()
        self.names = tuple(names)
        geometry = preset.geometry
        ft2d_cut = self._cut(preset, "2dft-r")
        self.ft2d = FT2D(preset.neighbourhood, **ft2d_cut)
        self.hpss = HPSS(preset.kernel_size, **self._cut(preset, "hpss"))
        self.repet_sim = RepetSim(hop_length=geometry.hop_length, **self._cut(preset, "repet-sim"))
        self.melody = Melody(**self._cut(preset, "melody"))
        long_window = 2 ** round(math.log2(_LONG_WINDOW_SECONDS * geometry.sample_rate))
        self.long_hpss = LongHPSS(window_length=long_window, hop_length=long_window // 4, geometry=geometry)
        self.long_cut = self._cut(preset, "long-hpss")

    @staticmethod
    def _cut(preset: Preset, name: str) -> dict:
        cutoff = preset.cutoff if name in preset.cut else 0.0
        return {"cutoff": cutoff, "smooth": preset.smooth, "sample_rate": preset.geometry.sample_rate}

    def _ft2d(self, mixture: Mixture) -> FT2DMasks:
        return mixture.once(_key(self.ft2d), lambda: self.ft2d(mixture.magnitude()))

    def _hpss(self, mixture: Mixture) -> Tensor:
        return mixture.once(_key(self.hpss), lambda: self.hpss(mixture.magnitude()))

    def _long_hpss(self, mixture: Mixture) -> Tensor:
        """Without the cut: the melody wants the low harmonics, too."""
        return mixture.once(_key(self.long_hpss), lambda: self.long_hpss(mixture.audio, mixture.spectrum()))

    def _long_hpss_cut(self, mixture: Mixture) -> Tensor:
        mask = self._long_hpss(mixture)
        return mask * high_pass(mask.shape[-2], **self.long_cut, like=mask)

    def _melody(self, mixture: Mixture) -> Tensor:
        # The long window tells a moving voice from sustained notes, in any ensemble.
        long_window = self._long_hpss(mixture)
        key = _key(self.melody, self.long_hpss)
        return mixture.once(key, lambda: self.melody(mixture.magnitude(), long_window))

    def forward(self, mixture: Mixture) -> dict[str, Tensor]:
        compute: dict[str, Callable[[], Tensor]] = {
            "2dft-r": lambda: self._ft2d(mixture).repetition,
            "2dft-m": lambda: self._ft2d(mixture).micro_modulation,
            "hpss": lambda: self._hpss(mixture),
            "long-hpss": lambda: self._long_hpss_cut(mixture),
            "melody": lambda: self._melody(mixture),
            "repet-sim": lambda: self.repet_sim(mixture.magnitude()),
        }
        return {name: compute[name]() for name in self.names}
