"""Segments that a remix stream can use: trusted, long enough, and of more than one song."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torchprim import checks
from torchprim.bootstrap.banks.bank import Bank
from torchprim.bootstrap.banks.segments import checked_indices
from torchprim.bootstrap.labels import Labels
from torchprim.bootstrap.settings import RemixSettings
from torchprim.spectra.stft import Geometry


def sequence_length(settings: RemixSettings, geometry: Geometry) -> int:
    """Return the samples of a sequence: one hop less than its frames, which are centred, and at least 1."""
    return max(1, (settings.frames - 1) * geometry.hop_length)


def speed_limit(settings: RemixSettings) -> int:
    """Return the maximum change of speed in thousandths."""
    return round(1000 * settings.speed)


def crop_length(settings: RemixSettings, geometry: Geometry, change: int) -> int:
    """Return the samples that a crop takes of a segment, more than a sequence at a higher speed.

    Args:
        settings: of the remixes.
        geometry: of the sequence.
        change: of the speed, in thousandths.
    """
    return math.ceil(sequence_length(settings, geometry) * (1000 + change) / 1000)


def mixable_segments(
    bank: Bank,
    settings: RemixSettings,
    labels: Labels | None = None,
    segments: Sequence[int] | None = None,
    rank: int = 0,
    world: int = 1,
) -> list[int]:
    """Select the segments of a rank: trusted, as long as a sequence, of two songs unless pairs are coherent.

    Args: as for `RemixStream`; the labels are in the order of the bank's segments.

    Raises:
        ValueError: where there is none, for segments that the bank does not have, or a geometry of another
            sample rate than the bank's.
    """
    geometry = settings.geometry or Geometry(bank.sample_rate)
    if geometry.sample_rate != bank.sample_rate:
        raise ValueError(f"geometry has {geometry.sample_rate} Hz, the bank {bank.sample_rate}")
    checks.integer(rank, "rank", 0, checks.integer(world, "world", 1) - 1)
    if segments is not None:
        segments = checked_indices(segments, len(bank.segments), "segments")
    if labels is None:
        trusted = list(range(len(bank.segments))) if segments is None else sorted(segments)
    else:
        trusted = labels.trusted(*settings.quantiles, segments)
    if not trusted:
        raise ValueError(f"no segment lies between the quantiles {settings.quantiles} of confidence")
    length = crop_length(settings, geometry, speed_limit(settings))
    long = [i for i in trusted if bank.segments[i].length >= length]
    if not long:
        seconds = length / bank.sample_rate
        raise ValueError(f"no trusted segment is as long as {settings.frames} frames ({seconds:.1f} s)")
    shard = long[rank::world]
    if not shard:
        raise ValueError(f"fewer trusted segments than processes ({world})")
    if settings.coherent < 1 and len({bank.segments[i].song for i in shard}) < 2:
        name = bank.names[bank.segments[shard[0]].song]
        of = f" by process {rank} of {world}" if world > 1 else ""
        raise ValueError(f"pairs need two songs, only {name} can be used{of}; coherent=1 takes one")
    return shard
