"""From folders of music to the batches that a network learns from, and those it is validated on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from torchprim.bootstrap.bank import Bank
from torchprim.bootstrap.labels import Labels, label
from torchprim.bootstrap.mixed_stream import MixedStream
from torchprim.bootstrap.settings import RemixSettings
from torchprim.bootstrap.stem_bank import StemBank
from torchprim.errors import AudioError
from torchprim.training.ranks import Ranks
from torchprim.training.splits import Source, Split, split_songs
from torchprim.training.validation import StemValidation


@dataclass(frozen=True)
class DataSettings:
    """The music of a training, and how it is labelled, trusted and held out.

    Args:
        audio: folders of music without stems.
        stems: folders of songs with true stems, see `find_stem_songs`.
        teacher: `pcl`, the ensemble of primitives, or the path of a checkpoint.
        teacher_preset: preset of `pcl`.
        labels: file of labels; `labels.jsonl` in the run's folder by default.
        quantiles: of the confidence, between which segments are trusted.
        stems_share: share of batches with true stems, where there is music without stems, too.
        validation: share of songs held out.
        residence: of the decoded songs, see `Bank`.
        cache: folder of decoded songs; by default one in the user's cache folder.
        quietest: loudness in LUFS below which segments are left out.

    Raises:
        ValueError: for a share out of range.
    """

    audio: tuple[str, ...] = ()
    stems: tuple[str, ...] = ()
    teacher: str = "pcl"
    teacher_preset: str = "best"
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
    """Batches to learn from, and the held-out songs, on the first rank, where one can be spared."""

    train: MixedStream
    validation: MixedStream | None  # remixes of held-out songs
    stem_validation: StemValidation | None  # held-out songs with true stems


def find_teacher(name: str, preset: str, device: torch.device) -> torch.nn.Module:
    """Return the separator that makes the estimates: `pcl` with a preset, or a network from a checkpoint.

    Raises:
        CheckpointError: where the checkpoint cannot be used.
    """
    if name == "pcl":
        from torchprim.separators.primitive import PrimitiveSeparator

        return PrimitiveSeparator(preset).to(device).eval()
    from torchprim.separators.load import load

    return load(name, device)


def prepare(data: DataSettings, remix: RemixSettings, run: Path, seed: int, ranks: Ranks) -> TrainingData:
    """Decode, label, and split songs into training and validation.

    Args:
        data: the music.
        remix: settings of the remixes, with the network's geometry.
        run: folder of the run, for its labels.
        seed: of the split and of the remixes.
        ranks: this process among all.

    Raises:
        AudioError, CheckpointError, ValueError, OSError: one line on why there is nothing to train on.
        RankError: the same, of another rank.
    """
    with ranks.together():  # the first rank fills the cache of decoded songs, the others read it
        sources = _sources(data, remix, ranks) if ranks.first else []
    with ranks.together():
        sources = sources or _sources(data, remix, ranks)
    with ranks.together():  # raised now, not after the hours that labels may take
        for split in split_songs(sources, data.validation, remix, seed, ranks):
            split.check()
    for number, source in enumerate(sources):
        if source.teacher is not None:
            labels = _labelled(source, Path(data.labels or run / "labels.jsonl"), remix.teacher_batch, ranks)
            sources[number] = source._replace(labels=labels)
    with ranks.together():
        return _training_data(split_songs(sources, data.validation, remix, seed, ranks), seed)


def _sources(data: DataSettings, remix: RemixSettings, ranks: Ranks) -> list[Source]:
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
        teacher = find_teacher(data.teacher, data.teacher_preset, ranks.device)
        share = 1 - stems_share if data.stems else 1.0
        sources.append(Source(Bank(data.audio, rate, **settings), teacher, None, data.quantiles, share))
    if data.stems:
        sources.append(Source(StemBank(data.stems, rate, **settings), None, None, (0.0, 1.0), stems_share))
    for source in sources:
        if not source.bank.segments:
            given = ", ".join(data.stems if source.teacher is None else data.audio)
            raise AudioError(given, f"nothing but sound quieter than {data.quietest:g} LUFS")
    return sources


def _labelled(source: Source, path: Path, batch_size: int, ranks: Ranks) -> Labels:
    """Label the whole bank, each rank its shard."""
    shard = {"rank": ranks.rank, "world": ranks.world, "progress": ranks.first}
    with ranks.together():
        labels = label(source.bank, source.teacher, path, batch_size=batch_size, **shard)
    if ranks.world > 1:
        with ranks.together():  # the other ranks' lines
            labels = label(source.bank, source.teacher, path, batch_size=batch_size, progress=False)
    return labels


def _training_data(splits: list[Split], seed: int) -> TrainingData:
    train = [(split.stream(seed), split.source.share) for split in splits if not split.held_out]
    held = [split for split in splits if split.held_out]
    remixed = [split.stream(seed + 1) for split in held if split.source.share > 0]
    stems = [
        StemValidation(split.source.bank, split.segments) for split in held if split.source.teacher is None
    ]
    return TrainingData(
        MixedStream(*zip(*train, strict=True), seed),
        # A source may have had no song to spare.
        MixedStream(remixed, [1.0] * len(remixed), seed) if remixed else None,
        stems[-1] if stems else None,
    )
