"""Cues of a preset."""

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

# 16384 samples at 44.1 kHz; the nearest power of two at other rates.
_LONG_WINDOW_SECONDS = 16384 / 44100


def preset_cues(preset: Preset, names: Iterable[str]) -> Cues:
    """Build the named cues with the settings of a preset, and no others.

    Both cues of the 2DFT share one `FT2D`, and the melody shares the cue of long-window HPSS, so that a
    setting learnt in one is learnt in the other.

    Args:
        preset: the settings.
        names: from `PRIMITIVES` or of the preset's own cues, in the order of the masks.

    Returns:
        The cues by name.

    Raises:
        KeyError: for an unknown name.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.ensemble.preset_cues import preset_cues
        >>> cues = preset_cues(tp.PRESETS["best"], ["hpss", "2dft-r"])
        >>> masks = cues(tp.Mixture(torch.randn(2, 44100), 44100))
        >>> list(masks), masks["hpss"].shape
        (['hpss', '2dft-r'], torch.Size([2, 1025, 87]))
    """
    geometry = preset.geometry

    def output(name: str) -> dict[str, Any]:
        return {
            "cutoff": preset.cutoff if name in preset.cut else 0.0,
            "smooth": preset.smooth,
            "dtype": preset.mask_dtype,
        }

    def common(name: str) -> dict[str, Any]:
        return {**output(name), "sample_rate": geometry.sample_rate}

    @cache  # built when the first cue asks for it, and shared with the second
    def ft2d() -> FT2D:
        return FT2D(preset.neighbourhood, **common("2dft-r"))

    @cache
    def long_hpss() -> LongHPSSCue:
        window_length = 2 ** round(math.log2(_LONG_WINDOW_SECONDS * geometry.sample_rate))
        primitive = LongHPSS(
            window_length=window_length,
            hop_length=window_length // 4,
            geometry=geometry,
            **output("long-hpss"),
        )
        return LongHPSSCue(primitive)

    builders: dict[str, Callable[[], Cue]] = {
        "hpss": lambda: PrimitiveCue(HPSS(preset.kernel_size, **common("hpss"))),
        "long-hpss": long_hpss,
        "2dft-r": lambda: PrimitiveCue(ft2d(), "repetition"),
        "2dft-m": lambda: PrimitiveCue(ft2d(), "micro_modulation"),
        "melody": lambda: MelodyCue(Melody(**common("melody")), long_hpss()),
        "repet-sim": lambda: PrimitiveCue(RepetSim(hop_length=geometry.hop_length, **common("repet-sim"))),
    }
    return Cues({n: preset.cues[n] if n in preset.cues else builders[n]() for n in names})
