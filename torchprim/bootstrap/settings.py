"""Settings of a remix stream, as one value."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

from torchprim import checks
from torchprim.spectra.stft import Geometry

# Beyond what any device holds.
_LARGEST = {"batch_size": 1 << 16, "frames": 1 << 20, "teacher_batch": 1 << 16}
_LARGEST_LEVEL = 100  # dB


def option(default: Any, help: str) -> Any:
    """Return a dataclass field that a command line offers as an option, with its help text."""
    return dataclasses.field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class RemixSettings:
    """Settings of a `RemixStream`: all but its music, its teacher and its seed.

    Args:
        batch_size: sequences in a batch.
        frames: STFT frames of a sequence.
        ratio: minimum and maximum of the vocals-to-accompaniment ratio, in dB.
        natural: whether the ratio is relative to the ratio of the estimates, not absolute.
        coherent: probability of a coherent pair: both estimates of the same excerpt.
        eq: standard deviation in dB of the random equaliser of each source.
        speed: maximum relative change of speed (pitch and tempo together) of each source, such as 0.06.
            The filters of each change are made, and cached, on first use.
        bin_confidence: whether to multiply weights by the teacher's posterior strength of each bin.
        pool: size of a fixed pool of remixes to draw from (the paper: 20,000); None for new remixes at
            every step. With a pool the store holds the estimates of all segments.
        slots: capacity of the estimate store, in segments.
        every: refresh interval of the store, in steps: one segment on average, `teacher_batch` of them at
            a time.
        teacher_batch: segments that the teacher separates at a time.
        quantiles: of the confidence, between which segments are trusted; the paper drops the least
            confident quarter.
        geometry: STFT of magnitudes, labels and weights; by default at the bank's sample rate.

    Raises:
        ValueError: for a setting out of range.

    Example:
        >>> import torchprim as tp
        >>> tp.RemixSettings(batch_size=2, frames=100).ratio
        (-2.5, 2.5)
    """

    batch_size: int = option(16, "sequences a batch, on each device")
    frames: int = option(400, "STFT frames a sequence")
    ratio: tuple[float, float] = option((-2.5, 2.5), "level of vocals to accompaniment in dB")
    natural: bool = option(False, "1: the ratio is a change of the estimates' own levels")
    coherent: float = option(0.0, "share of pairs from one and the same excerpt")
    eq: float = option(0.0, "standard deviation in dB of a random equaliser of each source")
    speed: float = option(0.0, "largest relative change of speed of each source")
    bin_confidence: bool = option(False, "1: weights times the teacher's posterior strength of each bin")
    pool: int | None = option(None, "number of fixed remixes (the paper: 20000); 0 for ever new ones")
    slots: int = option(128, "segments whose estimates are kept on the device")
    every: int = option(4, "refresh interval of an estimate, in steps")
    teacher_batch: int = option(4, "segments that the teacher separates at a time")
    quantiles: tuple[float, float] = (0.25, 1.0)
    geometry: Geometry | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "frames", "slots", "every", "teacher_batch"):
            checks.integer(getattr(self, name), name, 1)
        for name, largest in _LARGEST.items():
            if getattr(self, name) > largest:
                raise ValueError(f"{name} must be at most {largest}, got {getattr(self, name)}")
        if self.pool is not None:
            checks.integer(self.pool, "pool", 1)
        if not (_is_range(self.ratio) and all(map(math.isfinite, self.ratio))):
            raise ValueError(
                f"ratio must be two levels in dB, the lower one first, got {checks.described(self.ratio)}"
            )
        if max(map(abs, self.ratio)) > _LARGEST_LEVEL:
            raise ValueError(f"ratio must lie within {_LARGEST_LEVEL} dB, got {checks.described(self.ratio)}")
        if not (_is_range(self.quantiles) and 0 <= self.quantiles[0] < self.quantiles[1] <= 1):
            raise ValueError(
                f"quantiles must satisfy 0 <= low < high <= 1, got {checks.described(self.quantiles)}"
            )
        if self.geometry is not None and not isinstance(self.geometry, Geometry):
            raise ValueError(f"geometry must be a Geometry, got {self.geometry!r}")
        if not 0 <= checks.number(self.coherent, "coherent") <= 1:
            raise ValueError(f"coherent must lie in [0, 1], got {self.coherent}")
        if not 0 <= checks.number(self.speed, "speed") <= 0.5:
            raise ValueError(f"speed must lie in [0, 0.5], got {self.speed}")
        if self.bin_confidence and self.speed:
            raise ValueError(f"bin_confidence needs the excerpts' own time, got speed={self.speed}")
        if not 0 <= checks.number(self.eq, "eq") < math.inf:
            raise ValueError(f"eq must be finite and not negative, got {self.eq}")


def _is_range(value: Any) -> bool:
    """Return whether a value is a pair of numbers, the lower one first."""
    numbers = isinstance(value, (tuple, list)) and all(isinstance(x, Real) for x in value)
    return numbers and len(value) == 2 and value[0] <= value[1]
