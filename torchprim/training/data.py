"""From the folders given to train.py to what it learns from, and what it is checked with."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from torchprim.bootstrap.bank import Bank
from torchprim.bootstrap.labels import Labels, label
from torchprim.bootstrap.mixed_stream import MixedStream
from torchprim.bootstrap.remix import RemixStream
from torchprim.bootstrap.stem_bank import StemBank
from torchprim.errors import AudioError
from torchprim.spectra.stft import Geometry
from torchprim.training.ranks import Ranks
from torchprim.training.recipes import Recipe
from torchprim.training.validation import TrueSongs


class Data(NamedTuple):
    """What a training needs of music."""

    stream: MixedStream  # to learn from
    held: MixedStream | None  # remixes of held-out songs, on the first rank, where one can be spared
    songs: TrueSongs | None  # held-out songs with true stems, likewise


class _Source(NamedTuple):
    """One bank, and how it is mixed."""

    bank: Bank
    teacher: torch.nn.Module | None
    labels: Labels | None
    quantiles: tuple[float, float]
    share: float  # of the batches


def find_teacher(name: str, preset: str, device: torch.device) -> torch.nn.Module:
    """Who separates the music: `pcl` with a preset, or a trained network from a checkpoint.

    Raises:
        CheckpointError: where the checkpoint cannot be used.
    """
    if name == "pcl":
        from torchprim.separators.primitive import PrimitiveSeparator

        return PrimitiveSeparator(preset).to(device).eval()
    from torchprim.separators.network import load

    return load(name, device)


def prepare(args: argparse.Namespace, recipe: Recipe, geometry: Geometry, run: Path, ranks: Ranks) -> Data:
    """Decode, label, and split songs into those to learn from and those to check with.

    Args:
        args: of train.py.
        recipe: settings of the remixes.
        geometry: the network's STFT grid.
        run: the folder of the run, for its labels.
        ranks: this process among all.

    Raises:
        AudioError, CheckpointError, ValueError, OSError: one line on why there is nothing to train on.
        RankError: the same, of another rank.
    """
    with ranks.together():  # the first rank fills the cache of decoded songs, the others read it
        sources = _sources(args, geometry, ranks) if ranks.first else []
    with ranks.together():
        sources = sources or _sources(args, geometry, ranks)
    with ranks.together():  # what cannot be mixed is told now, not after the hours that labels may take
        _split(sources, args, recipe, geometry, ranks)
    for number, source in enumerate(sources):
        if source.teacher is not None:
            labels = _labelled(source, args.labels or run / "labels.jsonl", recipe.teacher_batch, ranks)
            sources[number] = source._replace(labels=labels)
    with ranks.together():
        return _split(sources, args, recipe, geometry, ranks)


def _sources(args: argparse.Namespace, geometry: Geometry, ranks: Ranks) -> list[_Source]:
    place = {
        "device": ranks.device,
        "residence": args.bank,
        "cache": args.cache,
        "progress": ranks.first,
        "quietest": args.quietest,
    }
    sources = []
    stems_share = args.stems_share if args.audio else 1.0
    if args.audio:
        teacher = find_teacher(args.teacher, args.teacher_preset, ranks.device)
        bank = Bank(args.audio, geometry.sample_rate, **place)
        share = 1 - stems_share if args.stems else 1.0
        sources.append(_Source(bank, teacher, None, (args.low, args.high), share))
    if args.stems:
        bank = StemBank(args.stems, geometry.sample_rate, **place)
        sources.append(_Source(bank, None, None, (0.0, 1.0), stems_share))
    for source in sources:
        if not source.bank.segments:
            given = ", ".join(args.stems if source.teacher is None else args.audio)
            raise AudioError(given, f"nothing but sound quieter than {args.quietest:g} LUFS")
    return sources


def _labelled(source: _Source, path: str | os.PathLike, batch: int, ranks: Ranks) -> Labels:
    """Labels of the whole bank, each rank's share of the work done by itself."""
    of_rank = {"rank": ranks.rank, "world": ranks.world, "progress": ranks.first}
    with ranks.together():
        labels = label(source.bank, source.teacher, path, batch_size=batch, **of_rank)
    if ranks.world > 1:
        with ranks.together():  # the other ranks' lines
            labels = label(source.bank, source.teacher, path, batch_size=batch, progress=False)
    return labels


def held_out(names: Sequence[str], share: float, seed: int) -> set[int]:
    """Songs kept for validation: at least one of three or more, drawn by the seed and the songs' names.

    The same song in two banks, as a mixture and with its stems, is thus likely to be kept in both; and
    a song that is added to a folder moves few others.

    Args:
        names: path of each song.
        share: of the songs, in [0, 1].
        seed: of the draw.

    Example:
        >>> from torchprim.training.data import held_out
        >>> len(held_out(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"], 0.2, 0)), held_out(["a"], 0.2, 0)
        (2, set())
    """
    if not 0 <= share <= 1:
        raise ValueError(f"validation must lie in [0, 1], got {share}")
    if len(names) < 3 or share == 0:
        return set()

    def drawn(number: int) -> str:
        title = Path(names[number]).name.split(".")[0]
        return hashlib.sha256(f"{seed} {title}".encode()).hexdigest()

    order = sorted(range(len(names)), key=drawn)
    return set(order[: min(len(names) - 2, max(1, round(share * len(names))))])


def _split(
    sources: list[_Source], args: argparse.Namespace, recipe: Recipe, geometry: Geometry, ranks: Ranks
) -> Data:
    settings = recipe.stream_settings() | {"geometry": geometry}
    # Held-out remixes are the same at each check, and plain; few segments do.
    plain = {"eq": 0.0, "speed": 0.0, "pool": None, "slots": max(8, recipe.slots // 4), "every": 10**9}
    learn, check, shares, songs = [], [], [], None
    for source in sources:
        bank = source.bank
        learns = source.share > 0
        out = held_out(bank.names, args.validation, args.seed) if learns else set(range(len(bank.names)))
        kept = [i for i, segment in enumerate(bank.segments) if segment.song not in out]
        held = [i for i, segment in enumerate(bank.segments) if segment.song in out]
        common = {"labels": source.labels, "quantiles": source.quantiles, **settings}
        size = (bank, source.teacher, recipe.batch_size, recipe.frames)
        if learns:
            place = {"rank": ranks.rank, "world": ranks.world}
            learn.append(RemixStream(*size, args.seed, segments=kept, **place, **common))
            shares.append(source.share)
        if not held or not ranks.first:
            continue
        if learns:
            one = len({bank.segments[i].song for i in held}) < 2  # has no partner
            changes = plain | ({"coherent": 1.0} if one else {})
            try:
                check.append(RemixStream(*size, args.seed + 1, segments=held, **common | changes))
            except ValueError as error:
                raise ValueError(f"held-out songs: {error}; --validation 0 holds none out") from error
        if source.teacher is None:
            songs = TrueSongs(bank, held)
    stream = MixedStream(learn, shares, args.seed)
    # A source may have had no song to spare.
    return Data(stream, MixedStream(check, [1.0] * len(check), args.seed) if check else None, songs)
