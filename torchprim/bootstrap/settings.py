"""Settings of a stream of remixes, as one value."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from torchprim import checks
from torchprim.spectra.stft import Geometry


def option(default: Any, help: str) -> Any:
    """A field of a dataclass that a command line offers as an option, with its help."""
    return dataclasses.field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class RemixSettings:
    """Everything that fixes a stream of remixes but its music, its teacher and its seed.

    Args:
        batch_size: sequences a batch.
        frames: STFT frames a sequence.
        ratio: lowest and highest level of vocals to accompaniment in dB.
        natural: whether the ratio is a change of the estimates' own levels, not the level itself.
        coherent: share of pairs that are the two estimates of one and the same excerpt.
        eq: standard deviation in dB of a random, smooth equaliser of each source.
        speed: largest relative change of speed (pitch and tempo together) of each source, such as 0.06.
        bin_confidence: whether weights are multiplied by the teacher's posterior strength of each bin.
        pool: number of fixed remixes that are drawn again and again (the paper: 20,000); None for ever
            new ones. A pool keeps the estimates of all its segments.
        slots: segments whose estimates the store holds.
        every: refresh interval of a segment in the store, in steps, on average: `teacher_batch` of them
            are refreshed at a time.
        teacher_batch: segments that the teacher separates at a time.
        quantiles: of the confidence, between which segments are trusted; the paper drops the least
            confident quarter.
        geometry: STFT of magnitudes, labels and weights; at the bank's rate by default.

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
        if self.pool is not None:
            checks.integer(self.pool, "pool", 1)
        low, high = self.ratio
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(f"ratio must be two levels in dB, the lower one first, got {self.ratio}")
        if not 0 <= self.coherent <= 1:
            raise ValueError(f"coherent must lie in [0, 1], got {self.coherent}")
        if not 0 <= self.speed <= 0.5:
            raise ValueError(f"speed must lie in [0, 0.5], got {self.speed}")
        if self.bin_confidence and self.speed:
            raise ValueError(f"bin_confidence needs the excerpts' own time, got speed={self.speed}")
        if self.eq < 0:
            raise ValueError(f"eq must not be negative, got {self.eq}")
