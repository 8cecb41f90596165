"""From a labelled bank to an endless stream of training batches, remixed on the device."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from torchprim import checks
from torchprim.audio.resampling import resample
from torchprim.bootstrap.banks.bank import Bank
from torchprim.bootstrap.batch import RemixBatch, mix
from torchprim.bootstrap.dataset import Item, RemixDataset
from torchprim.bootstrap.draws import Draws, draw
from torchprim.bootstrap.equaliser import POINTS, equalise
from torchprim.bootstrap.estimates import Estimator
from torchprim.bootstrap.labels import Labels
from torchprim.bootstrap.seeds import (
    SEED_BATCH,
    SEED_ITEM,
    SEED_POOL_DRAW,
    SEED_STORE,
    mixed_seed,
    uniform_numbers,
)
from torchprim.bootstrap.selection import crop_length, mixable_segments, sequence_length, speed_limit
from torchprim.bootstrap.settings import RemixSettings
from torchprim.bootstrap.store import RemixStore
from torchprim.spectra.stft import Geometry

_MAX_GAIN = 10.0  # a nearly silent crop stays so, rather than have its noise amplified


class RemixStream:
    """Endless training batches from estimates of trusted segments (sections 3.2 and 4.1 of the paper).

    The vocals estimate of one segment and the accompaniment estimate of another song's are cropped, brought
    to a random level ratio and mixed. Of more sources the last is of one song, the others of any but that,
    and each is brought to a random level relative to the first. The teacher estimates whole segments, on its
    device, into a store that is refreshed during training.

    A batch is a function of (seed, rank, step) alone: to resume, set `stream.step`. Of a stereo bank batches
    are stereo, each source panned as in its song.

    Args:
        bank: the music; with `teacher=None` a `StemBank`, whose true stems are mixed.
        teacher: a separator, such as `PrimitiveSeparator` or one that `tp.load` returns; or any module whose
            `teacher(audio (B, T), rate)` returns an object with `vocals` and `accompaniment` `(B, T)`. One of
            other sources has their names as `sources`, and returns `stems`, a dict of `(B, T)` by name. For a
            stereo bank it is called with `(B, 2, T)` and `channels=True`, with `bin_confidence` with
            `keep_masks=True`.
        settings: of the remixes; the defaults are the paper's.
        labels: confidence of the segments, from `tp.label`, also of a bank with more music than this one;
            None trusts all.
        segments: indices of the bank's segments to use, such as a training split; None for all.
        seed: of every random choice.
        rank: of this process.
        world: number of processes; each uses its shard of the trusted segments.
        changes: fields of the settings to replace, such as `batch_size=2`.

    Raises:
        ValueError: for settings out of range, labels of other music, segments that the bank does not have,
            no teacher and no `StemBank`, a teacher on another grid where `bin_confidence` is set, and where
            there is nothing to mix: no trusted segment, none as long as a sequence, or one song only and
            pairs that need two.
        TypeError: for settings that are no `RemixSettings`, or a change that is no field of it.

    Attributes:
        sources: names of the sources; of more than two, class k of a batch is source k.

    Example:
        >>> import tempfile, torchprim as tp
        >>> from torchprim.audio.find import demo_song
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     bank = tp.Bank([demo_song()], cache=cache, progress=False)
        >>> teacher = tp.PrimitiveSeparator("best")
        >>> stream = tp.RemixStream(bank, teacher, batch_size=2, frames=50, coherent=1.0)
        >>> batch = next(iter(stream))
        >>> batch.mixture.shape, batch.magnitude.shape, batch.labels.dtype
        (torch.Size([2, 25088]), torch.Size([2, 1025, 50]), torch.bool)
    """

    def __init__(
        self,
        bank: Bank,
        teacher: torch.nn.Module | None,
        settings: RemixSettings | None = None,
        *,
        labels: Labels | None = None,
        segments: Sequence[int] | None = None,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        **changes: Any,
    ) -> None:
        if settings is None:
            settings = RemixSettings()
        elif not isinstance(settings, RemixSettings):
            raise TypeError(
                f"settings must be a RemixSettings, got {settings!r}; give single settings by keyword, "
                "such as batch_size=2"
            )
        settings = dataclasses.replace(settings, **changes)
        self._stores_strength = settings.bin_confidence and teacher is not None
        self.geometry: Geometry = settings.geometry or Geometry(bank.sample_rate)
        estimate = Estimator(bank, teacher, settings.teacher_batch, self._stores_strength, self.geometry)
        self.sources: tuple[str, ...] = estimate.sources
        labels = None if labels is None else labels.of(bank)
        trusted = mixable_segments(bank, settings, labels, segments, rank, world)
        self.bank: Bank = bank
        self.teacher: torch.nn.Module | None = teacher
        self.settings: RemixSettings = settings
        self.labels: Labels | None = labels
        self.segments: list[int] = list(range(len(bank.segments)) if segments is None else segments)
        self.seed: int = checks.integer(seed, "seed", -(1 << 63))
        self.rank: int = rank
        self.step: int = 0
        self._confidence = np.ones(len(bank.segments)) if labels is None else labels.confidence.numpy()
        self._songs = np.array([segment.song for segment in bank.segments])
        self._lengths = np.array([segment.length for segment in bank.segments])
        grid = getattr(teacher, "geometry", self.geometry)
        if self._stores_strength and grid != self.geometry:
            raise ValueError(
                f"bin_confidence needs a teacher on the stream's grid, {self.geometry}, got {grid}"
            )
        self.store: RemixStore = RemixStore(
            trusted,
            len(trusted) if settings.pool is not None else settings.slots,
            settings.every,
            (seed, rank, SEED_STORE),
            estimate,
            length=self._lengths[trusted].max().item(),
            hop=self.geometry.hop_length,
            group=settings.teacher_batch,
        )

    def __iter__(self) -> Iterator[RemixBatch]:
        while True:
            batch = self.batch(self.step)
            self.step += 1
            yield batch

    def dataset(self, steps: int | None = None, pairs: bool = True) -> IterableDataset[Item]:
        """Return the stream as a dataset for a `DataLoader`, see `RemixDataset`."""
        return RemixDataset(self, steps, pairs)

    def batch(self, step: int) -> RemixBatch:
        """Make the batch of a step, from 0 on."""
        checks.integer(step, "step", 0)
        held = self.store.at(step)
        draws = self._draw(step, held)
        shared = np.random.default_rng(mixed_seed(self.seed, self.rank, SEED_BATCH, step))
        limit = speed_limit(self.settings)
        count = len(self.sources)
        changes = shared.integers(-limit, limit, count, endpoint=True).tolist()
        gains = shared.normal(0, self.settings.eq, (self.settings.batch_size, count * POINTS))
        flags = np.stack([~draws.coherent, self._confidence[held[draws.slots]].min(1)], 1)
        whole, real = _upload(
            np.concatenate([draws.slots, draws.starts], 1),
            np.concatenate([10 ** (draws.ratio / 20), flags, gains], 1),
            self.store.audio.device,
        )
        slots, starts = whole.unflatten(1, (2, count)).unbind(1)
        level, matched, confidence, gains = real.split([count - 1, 1, 1, count * POINTS], 1)
        sources = self._cut(slots, starts, changes)
        if self.settings.eq:
            gains = gains.unflatten(1, (count, POINTS))
            sources = equalise(sources, gains if self.bank.channels == 1 else gains[:, :, None])
        gain = self._gain(sources.flatten(2), level, matched)
        sources[:, 1:].mul_(gain.view(*gain.shape, *[1] * (sources.dim() - 2)))
        batch = mix(sources, self.geometry, confidence.squeeze(1))
        if not self._stores_strength:
            return batch
        strength = self._strength(batch.labels, slots, starts)
        return batch._replace(weights=batch.weights * strength / 255)

    def _strength(self, labels: Tensor, slots: Tensor, starts: Tensor) -> Tensor:
        """Return the posterior strength of each bin in the estimate of its loudest source, 255 for 1."""
        strengths = [
            self.store.strengths(slots[:, k], starts[:, k], self.settings.frames)
            for k in range(len(self.sources))
        ]
        chosen = strengths[0]
        for k, strength in enumerate(strengths[1:], 1):
            chosen = torch.where(labels == k, strength, chosen)
        return chosen

    def _draw(self, step: int, held: NDArray[np.integer]) -> Draws:
        """Draw the choices of a batch; items of a pool are numbered by their index in it."""
        settings = self.settings
        items = step * settings.batch_size + np.arange(settings.batch_size)
        if settings.pool is not None:
            chosen = uniform_numbers(mixed_seed(self.seed, self.rank, SEED_POOL_DRAW), items, 1)
            items = (settings.pool * chosen[:, 0]).astype(np.int64)
        longest = crop_length(settings, self.geometry, speed_limit(settings))
        # Excerpts start at a multiple of the hop, so that their frames are frames of the teacher's mask.
        starts = (self._lengths[held] - longest) // self.geometry.hop_length + 1
        seed, songs = mixed_seed(self.seed, self.rank, SEED_ITEM), self._songs[held]
        return draw(settings, seed, items, songs, starts, len(self.sources))

    def _cut(self, slots: Tensor, starts: Tensor, changes: list[int]) -> Tensor:
        """Cut the sources `(B, K, T)`, in stereo `(B, K, 2, T)`; change the speed of each, in thousandths."""
        length = sequence_length(self.settings, self.geometry)
        if not any(changes):
            classes = torch.arange(len(changes), device=slots.device)
            return self.store.excerpts(slots, starts, classes, length)
        sources = []
        for source, change in enumerate(changes):
            needed = crop_length(self.settings, self.geometry, change)
            audio = self.store.excerpts(slots[:, source], starts[:, source], source, needed)
            sources.append(resample(audio, 1000 + change, 1000)[..., :length])
        return torch.stack(sources, 1)

    def _gain(self, sources: Tensor, level: Tensor, matched: Tensor) -> Tensor:
        """Compute the gain `(B, K - 1)` of all sources but the first: `level`, or what brings them to it.

        Levels are relative to the first source of `(B, K, ...)`; those of coherent sources are relative to
        their own, as all are with `natural`.
        """
        if not self.settings.natural:
            first, others = torch.linalg.vector_norm(sources, dim=-1).tensor_split([1], 1)
            silent = 1e-8 * math.sqrt(sources.shape[-1])
            level = level * torch.where(matched > 0, first / others.clamp(min=silent), 1.0)
        return level.clamp(max=_MAX_GAIN)


def _upload(
    whole: NDArray[np.integer], real: NDArray[np.floating], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Copy whole and real numbers `(B, ...)` to a device, as int64 and float32, in one copy.

    On a GPU it is a copy from page-locked memory, for which the host does not wait.
    """
    columns = whole.astype(np.int32), real.astype(np.float32).view(np.int32)
    table = torch.from_numpy(np.concatenate(columns, 1))
    if device.type == "cuda":
        table = table.pin_memory()
    table = table.to(device, non_blocking=True)
    return table[:, : whole.shape[1]].long(), table[:, whole.shape[1] :].view(torch.float32)
