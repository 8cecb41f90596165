"""From a labelled bank to an endless stream of training batches, remixed on the device."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchprim.audio.resampling import resample
from torchprim.bootstrap.bank import Bank
from torchprim.bootstrap.batch import RemixBatch, make_batch
from torchprim.bootstrap.equaliser import equalise
from torchprim.bootstrap.labels import Labels
from torchprim.bootstrap.seeds import SEED_BATCH, SEED_ITEM, SEED_POOL_DRAW, SEED_STORE, derived_generator
from torchprim.bootstrap.selection import crop_length, mixable_segments, sequence_length
from torchprim.bootstrap.settings import RemixSettings
from torchprim.bootstrap.store import RemixStore, StoredEstimate, pack
from torchprim.spectra.stft import Geometry

_MAX_GAIN = 10.0  # a nearly silent crop stays so, rather than have its noise amplified


class _Draw(NamedTuple):
    """Random choices of one item of a batch."""

    vocals: int  # slots of the store
    accompaniment: int
    start_vocals: int
    start_accompaniment: int
    ratio: float  # dB
    coherent: bool

    def crop(self, source: int) -> tuple[int, int]:
        """Return the slot and the first sample of the vocals (0) or the accompaniment (1)."""
        if source == 0:
            return self.vocals, self.start_vocals
        return self.accompaniment, self.start_accompaniment


class RemixStream:
    """Endless training batches from estimates of trusted segments (sections 3.2 and 4.1 of the paper).

    The vocals estimate of one segment and the accompaniment estimate of another song's are cropped, brought
    to a random level ratio and mixed. The teacher estimates whole segments, on its device, into a store that
    is refreshed during training.

    A batch is a function of (seed, rank, step) alone: to resume, set `stream.step`.

    Args:
        bank: the music; with `teacher=None` a `StemBank`, whose true stems are mixed.
        teacher: a separator, such as `PrimitiveSeparator` or one that `tp.load` returns.
        settings: of the remixes; the defaults are the paper's.
        labels: confidence of the segments, from `tp.label`; None trusts all.
        segments: indices of the bank's segments to use, such as a training split; None for all.
        seed: of every random choice.
        rank: of this process.
        world: number of processes; each uses its shard of the trusted segments.
        changes: fields of the settings to replace, such as `batch_size=2`.

    Raises:
        ValueError: for settings out of range, a teacher on another grid where `bin_confidence` is set, and
            where there is nothing to mix: no trusted segment, none as long as a sequence, or one song only
            and pairs that need two.
        TypeError: for settings that are no `RemixSettings`, or a change that is no field of it.

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
        trusted = mixable_segments(bank, settings, labels, segments, rank, world)
        self.bank: Bank = bank
        self.teacher: torch.nn.Module | None = teacher
        self.settings: RemixSettings = settings
        self.seed: int = seed
        self.rank: int = rank
        self.step: int = 0
        self.geometry: Geometry = settings.geometry or Geometry(bank.sample_rate)
        confidence = labels.confidence if labels is not None else torch.ones(len(bank.segments))
        self.confidence: Tensor = confidence
        self._stores_strength = settings.bin_confidence and teacher is not None
        grid = getattr(teacher, "geometry", self.geometry)
        if self._stores_strength and grid != self.geometry:
            raise ValueError(
                f"bin_confidence needs a teacher on the stream's grid, {self.geometry}, got {grid}"
            )
        slots = len(trusted) if settings.pool is not None else settings.slots
        seeds = (seed, rank, SEED_STORE)
        self.store: RemixStore = RemixStore(
            trusted, slots, settings.every, seeds, self._estimate, settings.teacher_batch
        )

    def _estimate(self, indices: list[int]) -> list[StoredEstimate]:
        """Estimate the sources of segments: by the teacher, or from their stems."""
        estimates: dict[int, StoredEstimate] = {}
        with torch.inference_mode():
            for batch in self.bank.batches(self.settings.teacher_batch, sorted(set(indices))):
                if self.teacher is None:
                    vocals, accompaniment = self.bank.stems(batch)
                    masks = None
                else:
                    audio, keep = self.bank.audio(batch), self._stores_strength
                    separation = self.teacher(audio, self.bank.sample_rate, keep_masks=keep)
                    vocals, accompaniment = separation.vocals, separation.accompaniment
                    masks = separation.mask
                for row, index in enumerate(batch):
                    mask = masks[row] if self._stores_strength else None
                    estimates[index] = pack(index, vocals[row], accompaniment[row], mask)
        return [estimates[index] for index in indices]

    def __iter__(self) -> Iterator[RemixBatch]:
        while True:
            batch = self.batch(self.step)
            self.step += 1
            yield batch

    def batch(self, step: int) -> RemixBatch:
        """Make the batch of a step."""
        stored = self.store.at(step)
        songs = [self.bank.segments[estimate.segment].song for estimate in stored]
        draws = [self._draw(stored, songs, generator) for generator in self._item_generators(step)]
        shared = derived_generator(self.seed, self.rank, SEED_BATCH, step)
        vocals, accompaniment = (self._crop(stored, draws, source, shared) for source in (0, 1))
        vocals = self._gain(vocals, accompaniment, draws)[:, None] * vocals
        pairs = [[stored[slot].segment for slot in (draw.vocals, draw.accompaniment)] for draw in draws]
        confidence = self.confidence[torch.tensor(pairs)].amin(-1).to(vocals.device, non_blocking=True)
        batch = make_batch(vocals, accompaniment, self.geometry, confidence)
        if not self._stores_strength:
            return batch
        strength = [self._crop_strength(stored, draws, source) for source in (0, 1)]
        return batch._replace(weights=batch.weights * torch.where(batch.labels, *strength))

    def _item_generators(self, step: int) -> Iterator[torch.Generator]:
        """Yield a generator for each item, seeded by its number or by its index into the pool."""
        pool_indices = derived_generator(self.seed, self.rank, SEED_POOL_DRAW, step)
        for item in range(self.settings.batch_size):
            number = step * self.settings.batch_size + item
            if self.settings.pool is not None:
                number = int(torch.randint(self.settings.pool, (), generator=pool_indices))
            yield derived_generator(self.seed, self.rank, SEED_ITEM, number)

    def _draw(self, stored: list[StoredEstimate], songs: list[int], generator: torch.Generator) -> _Draw:
        settings, hop = self.settings, self.geometry.hop_length

        def uniform() -> float:
            return float(torch.rand((), generator=generator))

        def start(slot: int) -> int:
            # A multiple of the hop, so that the frames of a crop are frames of the teacher's mask.
            margin = stored[slot].audio.shape[-1] - crop_length(settings, self.geometry)
            return int(uniform() * (margin // hop + 1)) * hop

        vocals = int(uniform() * len(stored))
        # A small store may hold a single song for a while; then the pair is coherent.
        others = [slot for slot, song in enumerate(songs) if song != songs[vocals]]
        coherent = uniform() < settings.coherent or not others
        accompaniment = vocals if coherent else others[int(uniform() * len(others))]
        low, high = settings.ratio
        ratio = low + (high - low) * uniform()
        start_vocals = start(vocals)
        start_accompaniment = start_vocals if coherent else start(accompaniment)
        return _Draw(vocals, accompaniment, start_vocals, start_accompaniment, ratio, coherent)

    def _crop(
        self, stored: list[StoredEstimate], draws: list[_Draw], source: int, generator: torch.Generator
    ) -> Tensor:
        """Crop one source `(B, T)`; augment it by a change of speed and an equaliser."""
        settings, length = self.settings, sequence_length(self.settings, self.geometry)
        per_mille = 0
        if settings.speed:
            limit = round(1000 * settings.speed)
            per_mille = int(torch.randint(-limit, limit + 1, (), generator=generator))
        needed = math.ceil(length * (1000 + per_mille) / 1000)
        crops = [draw.crop(source) for draw in draws]
        audio = torch.stack([stored[slot].crop(source, start, needed) for slot, start in crops])
        if per_mille:
            audio = resample(audio, 1000 + per_mille, 1000)[:, :length]
        return equalise(audio, settings.eq, generator) if settings.eq else audio

    def _gain(self, vocals: Tensor, accompaniment: Tensor, draws: list[_Draw]) -> Tensor:
        """Compute the gain `(B,)` of the vocals for the drawn ratio; that of a coherent pair is relative."""
        gain = torch.tensor([10 ** (draw.ratio / 20) for draw in draws]).to(vocals.device, non_blocking=True)
        if not self.settings.natural:
            coherent = torch.tensor([draw.coherent for draw in draws]).to(vocals.device, non_blocking=True)
            rms_vocals, rms_accompaniment = (x.square().mean(-1).sqrt() for x in (vocals, accompaniment))
            gain = gain * torch.where(coherent, 1.0, rms_accompaniment / rms_vocals.clamp(min=1e-8))
        return gain.clamp(max=_MAX_GAIN)

    def _crop_strength(self, stored: list[StoredEstimate], draws: list[_Draw], source: int) -> Tensor:
        """Crop the teacher's posterior strength `(B, F, N)` in the frames of one source."""
        hop, frames = self.geometry.hop_length, self.settings.frames
        crops = [draw.crop(source) for draw in draws]
        parts = [stored[slot].strength[:, start // hop : start // hop + frames] for slot, start in crops]
        return torch.stack(parts).float() / 255
