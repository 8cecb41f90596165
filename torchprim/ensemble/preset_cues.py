"""The cues that a preset names, built from its settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from torchprim.ensemble.cues import Cue, Cues, LongHPSSCue, MelodyCue, PrimitiveCue
from torchprim.ensemble.presets import Preset
from torchprim.primitives.ft2d import FT2D
from torchprim.primitives.hpss import HPSS
from torchprim.primitives.long_hpss import LongHPSS
from torchprim.primitives.melody import Melody
from torchprim.primitives.repet_sim import RepetSim

# The long window spans 0.37 s: 16384 samples at 44.1 kHz, the nearest power of two elsewhere.
_LONG_WINDOW_SECONDS = 16384 / 44100


def preset_cues(preset: Preset, names: Iterable[str]) -> Cues:
    """Build the named cues with a preset's settings, and no others.

    Both cues of the 2DFT share one module, and the melody shares that of the long window.

    Args:
        preset: the settings.
        names: of `PRIMITIVES`, in the order of the masks.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.ensemble.preset_cues import preset_cues
        >>> cues = preset_cues(tp.PRESETS["best"], ["hpss", "2dft-r"])
        >>> masks = cues(tp.Mixture(torch.randn(2, 44100), 44100))
        >>> list(masks), masks["hpss"].shape
        (['hpss', '2dft-r'], torch.Size([2, 1025, 87]))
    """
    geometry = preset.geometry

    def cut(name: str) -> dict[str, Any]:
        return {"cutoff": preset.cutoff if name in preset.cut else 0.0, "smooth": preset.smooth}

    def rated(name: str) -> dict[str, Any]:
        return {**cut(name), "sample_rate": geometry.sample_rate}

    @cache
    def ft2d() -> FT2D:
        return FT2D(preset.neighbourhood, **rated("2dft-r"))

    @cache
    def long_hpss() -> LongHPSSCue:
        window = 2 ** round(math.log2(_LONG_WINDOW_SECONDS * geometry.sample_rate))
        spans = {"window_length": window, "hop_length": window // 4}
        return LongHPSSCue(LongHPSS(**spans, **cut("long-hpss"), geometry=geometry))

    build: dict[str, Callable[[], Cue]] = {
        "hpss": lambda: PrimitiveCue(HPSS(preset.kernel_size, **rated("hpss"))),
        "long-hpss": long_hpss,
        "2dft-r": lambda: PrimitiveCue(ft2d(), "repetition"),
        "2dft-m": lambda: PrimitiveCue(ft2d(), "micro_modulation"),
        "melody": lambda: MelodyCue(Melody(**rated("melody")), long_hpss()),
        "repet-sim": lambda: PrimitiveCue(RepetSim(hop_length=geometry.hop_length, **rated("repet-sim"))),
    }
    return Cues({name: build[name]() for name in names})
