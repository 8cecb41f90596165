"""From folders of music to training and validation batches."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from torchprim.bootstrap.banks.bank import Bank
from torchprim.bootstrap.banks.stem_bank import StemBank
from torchprim.bootstrap.labels import label
from torchprim.bootstrap.mixed_stream import MixedStream
from torchprim.bootstrap.settings import RemixSettings
from torchprim.errors import AudioError, writing
from torchprim.files import check_appendable, remove_stale
from torchprim.separators.load import load, preset_separator
from torchprim.sources import TWO
from torchprim.training.music import update_songs
from torchprim.training.ranks import Ranks
from torchprim.training.splits import Source, Split, split_songs
from torchprim.training.validation import StemValidation


@dataclass(frozen=True)
class DataSettings:
    """Settings of a training's data: folders, teacher and labels, validation split, memory.

    Args:
        audio: folders of music without stems.
        stems: folders of songs with true stems, see `find_stem_songs`.
        teacher: `pcl`, the ensemble of primitives, or the path of a checkpoint.
        teacher_preset: preset of `pcl`, see `find_teacher`.
        sources: names of the sources.
        labels: file of labels; `labels.jsonl` in the run's folder by default.
        quantiles: of the confidence, between which segments are trusted.
        stems_share: share of batches with true stems, in [0, 1); without `audio` it is 1.
        validation: share of songs held out.
        residence: memory of the decoded songs, see `Bank`.
        cache: folder of decoded songs; by default one in the user's cache folder.
        quietest: minimum loudness of a segment in LUFS.

    Raises:
        ValueError: for a share out of range.
    """

    audio: tuple[str, ...] = ()
    stems: tuple[str, ...] = ()
    teacher: str = "pcl"
    teacher_preset: str = "best"
    sources: tuple[str, ...] = TWO
    labels: str | None = None
    quantiles: tuple[float, float] = (0.25, 1.0)
    stems_share: float = 0.5
    validation: float = 0.1
    residence: str = "auto"
    cache: str | None = None
    quietest: float = -40.0

    def __post_init__(self) -> None:
        if not 0 <= self.stems_share < 1:
            raise ValueError(f"stems_share must lie in [0, 1), got {self.stems_share}")


class TrainingData(NamedTuple):
    """Batches to train on and, on the first rank and where songs are held out, to validate on."""

    train: MixedStream
    validation: MixedStream | None  # remixes of held-out songs
    stem_validation: StemValidation | None  # held-out songs with true stems

    def example(self) -> tuple[Bank, list[int], bool]:
        """Return segments to show an example of: their bank, their indices, and whether they are held out."""
        if self.stem_validation is not None:
            return self.stem_validation.bank, self.stem_validation.segments, True
        stream = (self.validation or self.train).streams[0]
        return stream.bank, stream.store.segments, self.validation is not None


def find_teacher(
    name: str, preset: str, device: torch.device, sources: Sequence[str] | None = None
) -> torch.nn.Module:
    """Return the separator that estimates the sources.

    Args:
        name: `pcl`, the ensemble of primitives, or the path of a checkpoint.
        preset: of `pcl`, see `find_any_preset`.
        device: of the separator.
        sources: names of the sources that are asked for; None for any.

    Raises:
        CheckpointError: for a checkpoint that cannot be used.
        ValueError: for an unknown preset, or a teacher of other sources.
    """
    if name != "pcl":
        teacher: torch.nn.Module = load(name, device)
    elif preset:
        teacher = preset_separator(preset).to(device).eval()
    else:
        names = ", ".join(sources or ())
        raise ValueError(f"there is no ensemble of {names} but one's own: --teacher-preset names it")
    if sources is not None and teacher.sources != tuple(sources):
        own = preset if name == "pcl" else name
        raise ValueError(
            f"the teacher {own} gives {', '.join(teacher.sources)}, and {', '.join(sources)} are asked for"
        )
    return teacher


def prepare(data: DataSettings, remix: RemixSettings, run: Path, seed: int, ranks: Ranks) -> TrainingData:
    """Decode and label the music, split its songs, and build the streams of remixes.

    Args:
        data: settings of the music.
        remix: settings of the remixes, with the network's geometry.
        run: folder of the run, for its labels and `songs.jsonl`.
        seed: of the split and of the remixes.
        ranks: rank of this process, world size and device.

    Raises:
        AudioError, CheckpointError, ValueError, OSError: one line on why there is nothing to train on.
        RankError: the same, of another rank.
    """
    labels = Path(data.labels or run / "labels.jsonl")
    with ranks.sharing_errors():  # the first rank decodes into the cache; then the others read it
        sources = _open_first(data, remix, run, labels, ranks) if ranks.first else []
    with ranks.sharing_errors():
        sources = sources or _open_sources(data, remix, ranks)
    with ranks.sharing_errors():  # labels may take hours: fail before them
        for split in split_songs(sources, data.validation, remix, seed, ranks):
            split.check()
    sources = [_add_labels(source, labels, remix.teacher_batch, ranks) for source in sources]
    with ranks.sharing_errors():
        return _build_streams(split_songs(sources, data.validation, remix, seed, ranks), seed)


def _open_first(
    data: DataSettings, remix: RemixSettings, run: Path, labels: Path, ranks: Ranks
) -> list[Source]:
    """Open the music on the rank that writes the files of the run; say where it is not what it was."""
    if data.audio:
        with writing(labels):  # before hours of work, not after
            check_appendable(labels)
    remove_stale(run)
    sources = _open_sources(data, remix, ranks)
    if changed := update_songs(run, [source.bank for source in sources]):
        print(f"other music than this run had before: {changed}", file=sys.stderr)
    return sources


def _open_sources(data: DataSettings, remix: RemixSettings, ranks: Ranks) -> list[Source]:
    """Decode the music of both types into banks, and load the teacher."""
    rate = remix.geometry.sample_rate
    settings = {
        "device": ranks.device,
        "residence": data.residence,
        "cache": data.cache,
        "progress": ranks.first,
        "quietest": data.quietest,
    }
    sources = []
    stems_share = data.stems_share if data.audio else 1.0
    if data.audio:
        teacher = find_teacher(data.teacher, data.teacher_preset, ranks.device, data.sources)
        share = 1 - stems_share if data.stems else 1.0
        sources.append(Source(Bank(data.audio, rate, **settings), teacher, None, data.quantiles, share))
    if data.stems:
        bank = StemBank(data.stems, rate, sources=data.sources, **settings)
        sources.append(Source(bank, None, None, (0.0, 1.0), stems_share))
    for source in sources:
        if not source.bank.segments:
            given = ", ".join(data.stems if source.teacher is None else data.audio)
            raise AudioError(given, f"nothing but sound quieter than {data.quietest:g} LUFS")
    return sources


def _add_labels(source: Source, path: Path, batch_size: int, ranks: Ranks) -> Source:
    """Label the whole bank of a source, each rank a shard; true stems need no labels."""
    if source.teacher is None:
        return source
    shard = {"rank": ranks.rank, "world": ranks.world, "progress": ranks.first}
    with ranks.sharing_errors():
        labels = label(source.bank, source.teacher, path, batch_size=batch_size, **shard)
    if ranks.world > 1:
        with ranks.sharing_errors():  # reads the labels of the other ranks
            labels = label(source.bank, source.teacher, path, batch_size=batch_size, progress=False)
    return source._replace(labels=labels)


def _build_streams(splits: list[Split], seed: int) -> TrainingData:
    training = [split for split in splits if not split.held_out]
    streams = [split.stream(seed) for split in training]
    train = MixedStream(streams, [split.source.share for split in training], seed)
    # Empty on other ranks than the first, and where no source has a song to spare.
    held_out = [split for split in splits if split.held_out]
    remixes = [split.stream(seed + 1) for split in held_out if split.source.share > 0]
    validation = MixedStream(remixes, [1.0] * len(remixes), seed) if remixes else None
    stems = [split for split in held_out if split.source.teacher is None]
    teacher = next((split.source.teacher for split in splits if split.source.teacher is not None), None)
    stem_validation = StemValidation(stems[0].source.bank, stems[0].segments, teacher) if stems else None
    return TrainingData(train, validation, stem_validation)
