"""Four stems with no training: drums, bass, other and vocals as centres among the cues there are.

The axes of the embedding are vocals masks of the primitives, without high-pass, and the frequency band. What
each source looks like on each of them is its centre in `FOUR`; 1/2 says that an axis does not tell.

| axis | 1 means | weight | drums | bass | other | vocals |
|---|---|---:|---:|---:|---:|---:|
| `hpss` | harmonic: a line along time, in 46 ms windows | 2 | 1/2 | 1 | 1 | 1 |
| `long-hpss` | no line along time in windows of a third of a second | 1 | 1 | 0 | 0 | 1 |
| `2dft-r` | does not repeat | 1 | 1/2 | 0 | 0 | 1/2 |
| `melody` | a harmonic of the leading pitch | 1 | 0 | 0 | 0 | 1 |
| `low` | below 200 Hz | 2 | 1 | 1 | 0 | 0 |

Drums: a stroke is a line along frequency, but bass drum and toms ring, so `hpss` does not tell; in the long
window no stroke is a line along time. Most of their energy is the bass drum's: low. Cymbals are not, and lie
between drums, other and vocals, nearest to drums by a little. Bass: steady, repeating and low. Other: steady,
repeating and not low. Vocals: harmonic, moving within the long window, on the melody, and not low. Whether
they or the drums repeat depends on the song.

Weights, hardness (the paper's) and the edge of 200 Hz are rounded from a coordinate search on the even
previews of MUSDB18; coordinates were searched among 0, 1/2 and 1. See docs/stems.md for what comes of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from torchprim import checks
from torchprim.ensemble.cues import Cues
from torchprim.ensemble.preset_cues import preset_cues
from torchprim.ensemble.presets import PRIMITIVES, Preset
from torchprim.sources import check_sources
from torchprim.spectra.high_pass import high_pass
from torchprim.spectra.mixture import Mixture
from torchprim.spectra.stft import Geometry

AXES = (*PRIMITIVES, "low")


@dataclass(frozen=True)
class StemPreset:
    """Settings of a clustering into K sources: cues as the axes of an embedding, and a centre of each source.

    Args:
        name: label of the results.
        centres: name of a source -> its point c_k in [0, 1]^D, a coordinate for each of `weights` in order.
        weights: axis -> its weight in equation 1: a primitive without high-pass, or `low`, see `LowBand`.
        rest: source that also takes what masks cannot give, a constant and what lies beyond the grid's
            frequencies, so that the stems add up to the mixture; the last by default.
        geometry: STFT grid of the masks.
        beta: hardness in equation 1.
        low: upper edge of the axis `low` in Hz.
        neighbourhood: (scales, rates) of the 2DFT's peak picking.
        kernel_size: length of the median filters of `hpss`.

    Raises:
        ValueError: for an unknown axis, fewer than two sources, names of sources that cannot be those of
            files, a centre of the wrong length or outside [0, 1], a `rest` that is no source, or a number out
            of range.

    Example:
        >>> import torchprim as tp
        >>> centres = {"steady": (1.0, 0.0), "drums": (0.0, 0.0), "bass": (1.0, 1.0)}
        >>> three = tp.StemPreset("three", centres, weights={"hpss": 1.0, "low": 2.0})
        >>> three.sources, three.rest
        (('steady', 'drums', 'bass'), 'bass')
    """

    name: str
    centres: Mapping[str, Sequence[float]]
    weights: Mapping[str, float]
    rest: str = ""
    geometry: Geometry = field(default_factory=Geometry)
    beta: float = 5.0
    low: float = 200.0
    neighbourhood: tuple[int, int] = (1, 35)
    kernel_size: int = 17

    def __post_init__(self) -> None:
        centres = {source: tuple(map(float, centre)) for source, centre in self.centres.items()}
        object.__setattr__(self, "centres", MappingProxyType(centres))
        object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))
        for axis in self.weights:
            if axis not in AXES:
                raise ValueError(f"unknown axis {axis!r}; there are {', '.join(AXES)}")
        if min(self.weights.values(), default=-1) < 0 or not 0 < sum(self.weights.values()) < math.inf:
            raise ValueError(f"weights must not be negative and not all 0, got {dict(self.weights)}")
        if len(centres) < 2:
            raise ValueError(f"centres must name at least two sources, got {', '.join(centres) or 'none'}")
        check_sources(tuple(centres))
        for source, centre in centres.items():
            if len(centre) != len(self.weights) or not all(0 <= x <= 1 for x in centre):
                expected = f"{len(self.weights)} numbers in [0, 1], one for each axis"
                raise ValueError(f"the centre of {source!r} must be {expected}, got {centre}")
        object.__setattr__(self, "rest", self.rest or list(centres)[-1])
        if self.rest not in centres:
            raise ValueError(f"rest must be one of {', '.join(centres)}, got {self.rest!r}")
        checks.positive(self.beta, "beta")
        checks.positive(self.low, "low")

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, in the order of the masks."""
        return tuple(self.centres)

    def __reduce__(self) -> tuple[Callable[..., StemPreset], tuple[Any, ...]]:
        # A read-only mapping can neither be copied nor pickled.
        values = (getattr(self, f.name) for f in dataclasses.fields(self))
        return StemPreset, tuple(dict(v) if isinstance(v, MappingProxyType) else v for v in values)


FOUR = StemPreset(
    "four",
    weights={"hpss": 2.0, "long-hpss": 1.0, "2dft-r": 1.0, "melody": 1.0, "low": 2.0},
    centres={
        "drums": (0.5, 1.0, 0.5, 0.0, 1.0),
        "bass": (1.0, 0.0, 0.0, 0.0, 1.0),
        "other": (1.0, 0.0, 0.0, 0.0, 0.0),
        "vocals": (1.0, 1.0, 0.5, 1.0, 0.0),
    },
    rest="other",
)

STEM_PRESETS: Mapping[str, StemPreset] = MappingProxyType({FOUR.name: FOUR})


class LowBand(nn.Module):
    """Axis of frequency: 1 in the low band, 0 above, whatever sounds there.

    The complement of the smooth `high_pass`: a raised cosine in log frequency around the cut-off.

    Args:
        cutoff: where it is 1/2, in Hz.
    """

    def __init__(self, cutoff: float = 200.0) -> None:
        super().__init__()
        self.cutoff: float = checks.positive(cutoff, "cutoff")

    def forward(self, mixture: Mixture) -> Tensor:
        grid, magnitude = mixture.geometry, mixture.magnitude()
        return (1 - high_pass(grid.bins, grid.sample_rate, self.cutoff, like=magnitude)).expand_as(magnitude)

    def extra_repr(self) -> str:
        return f"cutoff={self.cutoff}"


def stem_cues(preset: StemPreset) -> Cues:
    """Build the cues that are the axes of a preset, in the order of its weights.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.ensemble.four import FOUR, stem_cues
        >>> masks = stem_cues(FOUR)(tp.Mixture(torch.randn(2, 44100), 44100))
        >>> list(masks), masks["low"].shape
        (['hpss', 'long-hpss', '2dft-r', 'melody', 'low'], torch.Size([2, 1025, 87]))
    """
    names = [axis for axis in preset.weights if axis != "low"]
    settings = Preset(
        preset.name,
        dict.fromkeys(names or PRIMITIVES, 1.0),
        geometry=preset.geometry,
        neighbourhood=preset.neighbourhood,
        kernel_size=preset.kernel_size,
        cut=(),
    )
    cues = preset_cues(settings, names)
    return Cues({axis: LowBand(preset.low) if axis == "low" else cues[axis] for axis in preset.weights})
