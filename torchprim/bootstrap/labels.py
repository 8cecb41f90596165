"""How far each segment of a bank can be trusted: the teacher's confidence, kept line by line."""

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
    """One number a segment of the bank, on the CPU."""

    confidence: Tensor
    silhouette: Tensor
    posterior: Tensor

    def trusted(self, low: float = 0.25, high: float = 1.0, among: Sequence[int] | None = None) -> list[int]:
        """Segments whose confidence lies between two quantiles, in order of the bank.

        The default drops the least confident quarter (section 5 of the paper); (0, 0.25), (0.25, 0.5)
        and so on are the quartiles of its figure 3. Segments without a label (NaN) are left out.

        Args:
            low: quantile from which segments are trusted.
            high: quantile up to which they are.
            among: the segments that count; by default all.

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
        known = [i for i in among if not math.isnan(self.confidence[i])]
        order = sorted(known, key=lambda i: (self.confidence[i].item(), i))
        return sorted(order[round(low * len(order)) : round(high * len(order))])


def count_labelled(bank: Bank, teacher: torch.nn.Module, path: str | os.PathLike) -> int:
    """How many of a bank's segments a file of labels holds, made by this very teacher."""
    known = _known(path)
    return sum(_key(_record(bank, i, teacher.identity)) in known for i in range(len(bank.segments)))


def _known(path: str | os.PathLike | None) -> dict[tuple, dict]:
    return {} if path is None else {_key(record): record for record in read_json_lines(path)}


def _key(record: dict) -> tuple:
    return tuple(record.get(field) for field in ("song", "start", "seconds", "teacher"))


def label(
    bank: Bank,
    teacher: torch.nn.Module,
    path: str | os.PathLike | None = None,
    *,
    batch_size: int = 4,
    rank: int = 0,
    world: int = 1,
    progress: bool = True,
) -> Labels:
    """Run the teacher on every segment, and keep its confidence in a file of JSON lines.

    What the file holds already is not written again, so a killed run goes on where it was, to the same
    numbers: the segments of a batch are always the same, whatever is missing, and however many ranks
    there are. With several ranks each does its part of the batches and appends to the same file; then
    the labels of the other ranks' segments that are not there yet are NaN.

    Args:
        bank: the segments.
        teacher: gives a `Separation`, as `PrimitiveSeparator` and `tp.load` do.
        path: the file, or None to keep nothing. A line has song, start and seconds (in seconds),
            loudness (LUFS), confidence, silhouette, posterior and the teacher's identity.
        batch_size: segments at a time.
        rank: of this process.
        world: number of processes.
        progress: whether a bar is shown.

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

    wanted = [_record(bank, i, teacher.identity) for i in range(len(bank.segments))]
    known = _known(path)
    missing = {i for i, record in enumerate(wanted) if _key(record) not in known}
    batches = [b for b in list(bank.batches(batch_size))[rank::world] if not missing.isdisjoint(b)]
    with tqdm(
        total=sum(map(len, batches)), desc="label", unit="segment", disable=not progress, file=sys.stderr
    ) as bar:
        for batch in batches:
            with torch.inference_mode():
                got = teacher(bank.audio(batch), bank.sample_rate)
            measures = torch.stack([got.confidence, got.silhouette, got.posterior], -1).tolist()
            done = []
            for i, (confidence, silhouette, posterior) in zip(batch, measures, strict=True):
                values = {"confidence": confidence, "silhouette": silhouette, "posterior": posterior}
                if i in missing:
                    done.append(wanted[i] | values)
            if path is not None:
                append_json_lines(path, done)
            known |= {_key(record): record for record in done}
            bar.update(len(batch))
    return _collect([known.get(_key(record), {}) for record in wanted])


def _record(bank: Bank, index: int, identity: str) -> dict:
    segment = bank.segments[index]
    return {
        "song": bank.names[segment.song],
        "start": segment.start / bank.sample_rate,
        "seconds": segment.length / bank.sample_rate,
        "loudness": round(segment.loudness, 2),
        "teacher": identity,
    }


def _collect(records: Sequence[dict]) -> Labels:
    nan = float("nan")
    return Labels(*(torch.tensor([float(r.get(field, nan)) for r in records]) for field in Labels._fields))
