"""The stages of the spatial cue, which takes a mask and two channels."""

from __future__ import annotations

import torchprim as tp
from benchmarks.gpu import floors
from benchmarks.gpu.stage import Stage
from torchprim.kernels.spatial.position_histograms import position_histograms
from torchprim.kernels.spatial.side_to_mid import side_to_mid

_BANDS = (0, 8, 40)  # first bins, at 44.1 kHz

SPATIAL: tuple[Stage, ...] = (
    Stage(
        "side-to-mid ratio",
        lambda s: (s.stereo_spectrum,),
        lambda s, x: side_to_mid(x),
        floors.side_to_mid,
        ("side_to_mid",),
    ),
    Stage(
        "histograms of position",
        lambda s: (*s.position_and_level, s.masks[0]),
        lambda s, position, level, mask: position_histograms(position, level, mask, [*_BANDS, s.bins]),
        floors.position_histograms,
        ("position_histograms",),
        (2,),
        tolerance=1e-3,  # the reference adds one by one
    ),
    Stage(
        "spatial cue",
        lambda s: (s.stereo_spectrum, s.masks[0]),
        lambda s, x, mask: tp.spatial(x, mask, sample_rate=s.rate),
        floors.spatial,
        ("side_to_mid", "position_histograms", "shifted_mask"),
        (1,),
        tolerance=1e-3,
        gradient_tolerance=1e-2,
    ),
)
