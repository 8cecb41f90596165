"""Confidence labels: the teacher's confidence in each segment of a bank, cached as JSON lines."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.bootstrap.bank import Bank
from torchprim.files import append_json_lines, read_json_lines


class Labels(NamedTuple):
    """Measures of the teacher's separation of each segment, `(segments,)`, on the CPU; NaN: not labelled."""

    confidence: Tensor
    silhouette: Tensor
    posterior: Tensor

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


def count_labelled(bank: Bank, teacher: torch.nn.Module, path: str | os.PathLike[str]) -> int:
    """Count the segments of a bank that a file holds labels of, by the same teacher."""
    cached = _read_cached(path)
    return sum(_cache_key(record) in cached for record in _records(bank, teacher))


def _read_cached(path: str | os.PathLike[str] | None) -> dict[tuple, dict]:
    return {} if path is None else {_cache_key(record): record for record in read_json_lines(path)}


def _cache_key(record: dict) -> tuple:
    return tuple(record.get(field) for field in ("song", "start", "seconds", "teacher"))


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
        teacher: a separator, such as `PrimitiveSeparator` or one that `tp.load` returns.
        path: the file, or None for no cache. A line has song, start and seconds (both in seconds),
            loudness (LUFS), confidence, silhouette, posterior and the teacher's identity.
        batch_size: segments that the teacher separates at a time.
        rank: of this process.
        world: number of processes.
        progress: whether to show a progress bar.

    Returns:
        `Labels`, in the order of `bank.segments`.

    Raises:
        OSError: where the file cannot be written.

    Example:
        >>> import tempfile, torchprim as tp
        >>> from torchprim.audio.find import demo_song
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     bank = tp.Bank([demo_song()], cache=cache, progress=False)
        >>> tp.label(bank, tp.PrimitiveSeparator(), progress=False).confidence.shape
        torch.Size([1])
    """
    from tqdm import tqdm

    records = _records(bank, teacher)
    cached = _read_cached(path)
    missing = {i for i, record in enumerate(records) if _cache_key(record) not in cached}
    batches = [b for b in list(bank.batches(batch_size))[rank::world] if not missing.isdisjoint(b)]
    with tqdm(
        total=sum(map(len, batches)),
        desc="label",
        unit="segment",
        disable=not (progress and batches),
        file=sys.stderr,
    ) as bar:
        for batch in batches:
            with torch.inference_mode():
                separation = teacher(bank.audio(batch), bank.sample_rate)
            measures = torch.stack([getattr(separation, field) for field in Labels._fields], -1).tolist()
            new = [
                records[i] | dict(zip(Labels._fields, values, strict=True))
                for i, values in zip(batch, measures, strict=True)
                if i in missing
            ]
            if path is not None:
                append_json_lines(path, new)
            cached |= {_cache_key(record): record for record in new}
            bar.update(len(batch))
    return _collect([cached.get(_cache_key(record), {}) for record in records])


def _records(bank: Bank, teacher: torch.nn.Module) -> list[dict]:
    """Return the record of each segment, without its measures."""
    identity = teacher.identity  # once: it may hash the weights of a network
    return [
        {
            "song": bank.names[segment.song],
            "start": segment.start / bank.sample_rate,
            "seconds": segment.length / bank.sample_rate,
            "loudness": round(segment.loudness, 2),
            "teacher": identity,
        }
        for segment in bank.segments
    ]


def _collect(records: Sequence[dict]) -> Labels:
    nan = float("nan")
    return Labels(*(torch.tensor([float(r.get(field, nan)) for r in records]) for field in Labels._fields))
