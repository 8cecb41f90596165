"""Confidence labels: the teacher's confidence in each segment of a bank, cached as JSON lines."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.bootstrap.banks.bank import Bank
from torchprim.files import append_json_lines, check_appendable, filter_json_lines, read_json_lines
from torchprim.progress import bar, write

MEASURES = ("confidence", "silhouette", "posterior")
_LOUDNESS_TOLERANCE = 0.015  # LU: what is rounded to 0.01 may be rounded up here and down there
Record = dict[str, Any]


class SegmentKey(NamedTuple):
    """What a label is matched by: a segment's song, start and length in seconds, and loudness in LUFS."""

    song: str
    start: float
    seconds: float
    loudness: float | None  # None: silence


class Labels(NamedTuple):
    """Measures of the teacher's separation of each segment, `(segments,)`, on the CPU; NaN: not labelled.

    `segments` says which those are; without, labels belong to a bank by the order of its segments.
    """

    confidence: Tensor
    silhouette: Tensor
    posterior: Tensor
    segments: tuple[SegmentKey, ...] | None = None

    def __repr__(self) -> str:
        known = self.confidence[~self.confidence.isnan()]
        span = f", confidence {known.min().item():.3f} to {known.max().item():.3f}" if len(known) else ""
        return f"Labels({len(self.confidence)} segments, {len(known)} labelled{span})"

    def of(self, bank: Bank) -> Labels:
        """Return the labels of a bank's segments, matched by `segments`; NaN where there is none.

        Raises:
            ValueError: for labels of other music: of none of the bank's segments, or of another number.
        """
        keys = segment_keys(bank)
        if self.segments is None:
            counts = {len(measure) for measure in (self.confidence, self.silhouette, self.posterior)}
            if counts != {len(keys)}:
                count = ", ".join(map(str, sorted(counts)))
                raise ValueError(f"labels must be of the bank's {len(keys)} segments, got {count}")
            return self
        if self.segments == keys:
            return self
        places = _Places(key._asdict() | {"index": i} for i, key in enumerate(self.segments))
        found = [places.find(key._asdict()) for key in keys]
        if keys and not any(found):
            raise ValueError(f"labels must be of the bank's {len(keys)} segments, got those of other music")
        rows = torch.tensor(
            [len(self.segments) if f is None else f["index"] for f in found], dtype=torch.long
        )
        measures = (self.confidence, self.silhouette, self.posterior)
        return Labels(*(torch.cat([m, m.new_full((1,), math.nan)])[rows] for m in measures), keys)

    def trusted(self, low: float = 0.25, high: float = 1.0, among: Sequence[int] | None = None) -> list[int]:
        """Select the segments whose confidence lies between two quantiles.

        The default drops the least confident quarter (section 5 of the paper); (0, 0.25), (0.25, 0.5)
        and so on are the quartiles of its figure 3. Segments without a label (NaN) are left out.

        Args:
            low: lower quantile, in [0, 1).
            high: upper quantile, in (0, 1].
            among: indices of the segments to select from, over which the quantiles are taken; by default all.

        Returns:
            sorted indices.

        Raises:
            ValueError: for quantiles that are not 0 <= low < high <= 1.

        Example:
            >>> import torch
            >>> from torchprim.bootstrap.labels import Labels
            >>> confidence = torch.tensor([0.4, 0.1, 0.3, 0.2])
            >>> Labels(confidence, confidence, confidence).trusted(0.25)
            [0, 2, 3]
        """
        if not 0 <= low < high <= 1:
            raise ValueError(f"quantiles must satisfy 0 <= low < high <= 1, got {low} and {high}")
        among = range(len(self.confidence)) if among is None else among
        labelled = [i for i in among if not math.isnan(self.confidence[i])]
        order = sorted(labelled, key=lambda i: (self.confidence[i].item(), i))
        return sorted(order[round(low * len(order)) : round(high * len(order))])


class _Places:
    """Records by song, start, length and teacher; loudness tells one recording from another in its place."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records: dict[tuple, list[Record]] = {}
        for record in records:
            self.add(record)

    @staticmethod
    def _place(record: Record) -> tuple:
        # Absolute, so that a folder may be given in another way than when it was labelled.
        return os.path.abspath(record["song"]), record["start"], record["seconds"], record.get("teacher")

    def add(self, record: Record) -> None:
        self._records.setdefault(self._place(record), []).append(record)

    def find(self, record: Record) -> Record | None:
        """Return the latest record of the same segment of the same music."""
        for other in reversed(self._records.get(self._place(record), ())):
            if same_loudness(record["loudness"], other["loudness"]):
                return other
        return None

    def holds(self, record: Record) -> bool:
        """Return whether there is a record in this place, of this or of other music."""
        return self._place(record) in self._records


def same_loudness(one: float | None, other: float | None) -> bool:
    """Return whether two levels in LUFS, rounded to 0.01, are of the same music; None: silence."""
    return one == other or (None not in (one, other) and abs(one - other) < _LOUDNESS_TOLERANCE)


def segment_keys(bank: Bank) -> tuple[SegmentKey, ...]:
    """Return the key of each segment of a bank."""
    rate = bank.sample_rate
    return tuple(
        SegmentKey(
            bank.names[song],
            start / rate,
            length / rate,
            round(loudness, 2) if math.isfinite(loudness) else None,
        )
        for song, start, length, loudness in bank.segments
    )


def count_labelled(bank: Bank, teacher: torch.nn.Module, path: str | os.PathLike[str]) -> int:
    """Count the segments of a bank that a file holds labels of, by the same teacher."""
    cached = _read_cached(path)
    return sum(cached.find(record) is not None for record in _records(bank, teacher))


def _read_cached(path: str | os.PathLike[str] | None) -> _Places:
    return _Places(() if path is None else filter(_is_label, read_json_lines(path)))


def _is_label(record: Record) -> bool:
    """Check the types of a record: a file may hold other lines of JSON."""

    def is_number(field: str) -> bool:
        return isinstance(record.get(field), (int, float)) and abs(record[field]) < 1e300  # no NaN either

    return (
        all(isinstance(record.get(field), str) for field in ("song", "teacher"))
        and all(map(is_number, ("start", "seconds", *MEASURES)))
        and (is_number("loudness") or ("loudness" in record and record["loudness"] is None))
    )


def _latest(records: list[Record]) -> list[Record]:
    """Select the last record of each key, which another process may have written, too."""

    def key(record: Record) -> tuple:
        return tuple(record[field] for field in (*SegmentKey._fields, "teacher"))

    latest = {key(record): record for record in records if _is_label(record)}
    return [record for record in records if not _is_label(record) or latest[key(record)] is record]


def label(
    bank: Bank,
    teacher: torch.nn.Module,
    path: str | os.PathLike[str] | None = None,
    *,
    batch_size: int = 4,
    rank: int = 0,
    world: int = 1,
    progress: bool = True,
) -> Labels:
    """Separate every segment with the teacher, and cache its confidence in a file of JSON lines.

    Batches whose labels are all cached are skipped: a killed run resumes, to the same numbers, since a batch
    holds the same segments whatever is missing and however many ranks there are. Each rank labels its
    shard of the batches and appends to the same file; other shards' labels that are not in it yet are NaN.

    Args:
        bank: the segments.
        teacher: a separator, such as `PrimitiveSeparator` or one that `tp.load` returns; or any module with a
            name, `identity`, whose `teacher(audio (B, T), rate)` returns an object with `confidence`,
            `silhouette` and `posterior` `(B,)`. For a stereo bank it is called with `(B, 2, T)` and
            `channels=True`.
        path: the file, or None for no cache; its folder is created. A line has song (its path, as given),
            start and seconds (both in seconds), loudness (LUFS), the teacher's identity, confidence,
            silhouette and posterior. The first five are the key: a song that was replaced by another
            recording, which its loudness tells, is labelled anew.
        batch_size: segments that the teacher separates at a time.
        rank: of this process.
        world: number of processes.
        progress: whether to show a progress bar.

    Returns:
        `Labels`, in the order of `bank.segments`; NaN for those of other ranks, and for those whose measures
        are not finite, which are named.

    Raises:
        ValueError: for an empty path, a batch size below 1, or a rank that is not below `world`.
        OSError: where the file cannot be written; its `filename` is `path`.

    Example:
        >>> import tempfile, torchprim as tp
        >>> from torchprim.audio.find import demo_song
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     bank = tp.Bank([demo_song()], cache=cache, progress=False)
        >>> tp.label(bank, tp.PrimitiveSeparator(), progress=False).confidence.shape
        torch.Size([1])
    """
    checks.integer(batch_size, "batch_size", 1)
    checks.integer(rank, "rank", 0, checks.integer(world, "world", 1) - 1)
    if path is not None:
        if not os.fspath(path):
            raise ValueError(f"path must name a file, got {path!r}")
        check_appendable(path)  # before hours of work, not after

    def say(line: str) -> None:
        if progress:
            write(line, sys.stderr)

    records = _records(bank, teacher)
    cached = _read_cached(path)
    missing = {i for i, record in enumerate(records) if cached.find(record) is None}
    for song in dict.fromkeys(records[i]["song"] for i in sorted(missing) if cached.holds(records[i])):
        say(f"note: {song}: has changed since it was labelled, and is labelled anew")
    batches = [b for b in list(bank.batches(batch_size))[rank::world] if not missing.isdisjoint(b)]
    with bar("label", total=sum(map(len, batches)), unit="segment", shows=progress) as shown:
        for batch in batches:
            with torch.inference_mode():
                separation = teacher(bank.audio(batch), bank.sample_rate, **bank.teacher_options)
            measures = torch.stack([getattr(separation, field) for field in MEASURES], -1).tolist()
            new = []
            for i, values in zip(batch, measures, strict=True):
                if not all(map(math.isfinite, values)):
                    where = f"{records[i]['song']} at {records[i]['start']:g} s"
                    say(f"not labelled: {where}: its measures are {values}")
                elif i in missing:
                    new.append(records[i] | dict(zip(MEASURES, values, strict=True)))
            if path is not None and new:
                append_json_lines(path, new)
            for record in new:
                cached.add(record)
            shown.update(len(batch))
    if path is not None:
        filter_json_lines(path, _latest)  # without lines that a kill left incomplete
    return _collect(bank, [cached.find(record) or {} for record in records])


def _records(bank: Bank, teacher: torch.nn.Module) -> list[Record]:
    """Return the record of each segment, without its measures."""
    identity = teacher.identity  # once: it may hash the weights of a network
    return [key._asdict() | {"teacher": identity} for key in segment_keys(bank)]


def _collect(bank: Bank, records: Sequence[Record]) -> Labels:
    columns = (torch.tensor([float(r.get(field, math.nan)) for r in records]) for field in MEASURES)
    return Labels(*columns, segment_keys(bank))
