"""From a labelled bank to an endless stream of training mixtures, made on the device."""

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
from torchprim.bootstrap.equaliser import equalised
from torchprim.bootstrap.labels import Labels
from torchprim.bootstrap.seeds import SEED_BATCH, SEED_ITEM, SEED_POOL_DRAW, SEED_STORE, derived_generator
from torchprim.bootstrap.settings import RemixSettings
from torchprim.bootstrap.store import RemixStore, StoredEstimate, pack
from torchprim.spectra.stft import Geometry

# No crop is amplified by more: what is nearly silent is left so, rather than its noise amplified.
_LARGEST_GAIN = 10.0


class _Draw(NamedTuple):
    """The choices that fix one item of a batch."""

    vocals: int  # slots of the store
    accompaniment: int
    start_vocals: int
    start_accompaniment: int
    ratio: float  # dB
    coherent: bool

    def crop(self, source: int) -> tuple[int, int]:
        """Slot and first sample of the vocals (0) or the accompaniment (1)."""
        if source == 0:
            return self.vocals, self.start_vocals
        return self.accompaniment, self.start_accompaniment


class RemixStream:
    """Endless training batches from estimates of trusted segments (sections 3.2 and 4.1 of the paper).

    The vocals estimate of one segment and the accompaniment estimate of another song's are cropped, brought
    to a random level ratio and mixed. Estimates of whole segments are made by the teacher, on its
    device, and cached in a store that is refreshed while training goes on.

    A batch is a function of (seed, rank, step) alone: to resume after a stop, set `stream.step`.

    Args:
        bank: the music; with `teacher=None` a `StemBank`, whose true stems are mixed.
        teacher: a separator, such as `PrimitiveSeparator` or what `tp.load` returns.
        settings: of the remixes; the defaults are the paper's.
        labels: how far segments can be trusted, from `tp.label`; None trusts all.
        segments: indices of the bank's segments that may be used, such as a training split; None for all.
        seed: of every random choice.
        rank: of this process.
        world: number of processes; each takes its own part of the trusted segments.
        changes: fields of the settings to replace, such as `batch_size=2`.

    Raises:
        ValueError: for settings out of range, and where there is nothing to mix: no trusted segment,
            none as long as a sequence, or one song only and pairs that need two.
        TypeError: for a change that is no field of `RemixSettings`.

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
        settings = dataclasses.replace(settings or RemixSettings(), **changes)
        trusted = mixable_segments(bank, settings, labels, segments, rank, world)
        self.bank, self.teacher, self.settings = bank, teacher, settings
        self.seed, self.rank, self.step = seed, rank, 0
        self.geometry = settings.geometry or Geometry(bank.sample_rate)
        self.confidence = labels.confidence if labels is not None else torch.ones(len(bank.segments))
        self._keeps_strength = settings.bin_confidence and teacher is not None
        slots = len(trusted) if settings.pool is not None else settings.slots
        seeds = (seed, rank, SEED_STORE)
        group = settings.teacher_batch
        self.store = RemixStore(trusted, slots, settings.every, seeds, self._estimates, group)

    def _estimates(self, indices: list[int]) -> list[StoredEstimate]:
        made: dict[int, StoredEstimate] = {}
        with torch.inference_mode():
            for batch in self.bank.batches(self.settings.teacher_batch, sorted(set(indices))):
                if self.teacher is None:
                    vocals, accompaniment = self.bank.stems(batch)
                    masks = None
                else:
                    got = self.teacher(self.bank.audio(batch), self.bank.sample_rate, keep_masks=True)
                    vocals, accompaniment, masks = got.vocals, got.accompaniment, got.mask
                for row, index in enumerate(batch):
                    mask = masks[row] if self._keeps_strength else None
                    made[index] = pack(index, vocals[row], accompaniment[row], mask)
        return [made[index] for index in indices]

    def __iter__(self) -> Iterator[RemixBatch]:
        while True:
            batch = self.batch(self.step)
            self.step += 1
            yield batch

    def batch(self, step: int) -> RemixBatch:
        """Make the batch of a step."""
        stored = self.store.at(step)
        songs = [self.bank.segments[estimate.segment].song for estimate in stored]
        draws = [self._draw(stored, songs, generator) for generator in self._generators(step)]
        shared = derived_generator(self.seed, self.rank, SEED_BATCH, step)
        sources = torch.stack([self._crops(stored, draws, source, shared) for source in (0, 1)])
        vocals, accompaniment = self._levelled(sources, draws)
        return self._transformed(vocals, accompaniment, stored, draws)

    def _generators(self, step: int) -> Iterator[torch.Generator]:
        """A generator for each item: of the step, or of the pool's remix that is drawn."""
        base = derived_generator(self.seed, self.rank, SEED_POOL_DRAW, step)
        for item in range(self.settings.batch_size):
            number = step * self.settings.batch_size + item
            if self.settings.pool is not None:
                number = int(torch.randint(self.settings.pool, (), generator=base))
            yield derived_generator(self.seed, self.rank, SEED_ITEM, number)

    def _draw(self, stored: list[StoredEstimate], songs: list[int], generator: torch.Generator) -> _Draw:
        settings, hop = self.settings, self.geometry.hop_length

        def uniform() -> float:
            return float(torch.rand((), generator=generator))

        def start(slot: int) -> int:
            # On the grid of frames: the teacher's mask of the excerpt is then a part of the segment's.
            room = (stored[slot].audio.shape[-1] - _longest_crop(settings, self.geometry)) // hop
            return int(uniform() * (room + 1)) * hop

        vocals = int(uniform() * len(stored))
        # A small store may hold one song alone for a while; then the pair is a coherent one.
        others = [slot for slot, song in enumerate(songs) if song != songs[vocals]]
        coherent = uniform() < settings.coherent or not others
        accompaniment = vocals if coherent else others[int(uniform() * len(others))]
        low, high = settings.ratio
        ratio = low + (high - low) * uniform()
        begin = start(vocals)
        return _Draw(
            vocals, accompaniment, begin, begin if coherent else start(accompaniment), ratio, coherent
        )

    def _crops(
        self, stored: list[StoredEstimate], draws: list[_Draw], source: int, shared: torch.Generator
    ) -> Tensor:
        """Crop one source `(B, T)`, with its change of speed and its equaliser."""
        settings, samples = self.settings, _crop_length(self.settings, self.geometry)
        per_mille = 0
        if settings.speed:
            span = round(1000 * settings.speed)
            per_mille = int(torch.randint(-span, span + 1, (), generator=shared))
        length = math.ceil(max(1, samples) * (1000 + per_mille) / 1000)
        crops = torch.stack(
            [stored[slot].crop(source, start, length) for slot, start in (d.crop(source) for d in draws)]
        )
        if per_mille:
            crops = resample(crops, 1000 + per_mille, 1000)[:, : max(1, samples)]
        return equalised(crops, settings.eq, shared) if settings.eq else crops

    def _levelled(self, sources: Tensor, draws: list[_Draw]) -> tuple[Tensor, Tensor]:
        """Vocals and accompaniment at the drawn ratio; a coherent pair's own ratio is changed by it."""
        vocals, accompaniment = sources
        wanted = torch.tensor([10 ** (d.ratio / 20) for d in draws]).to(vocals.device, non_blocking=True)
        if not self.settings.natural:
            keep = torch.tensor([d.coherent for d in draws]).to(vocals.device, non_blocking=True)
            level = [x.square().mean(-1).sqrt() for x in (vocals, accompaniment)]
            wanted = wanted * torch.where(keep, 1.0, level[1] / level[0].clamp(min=1e-8))
        return vocals * wanted.clamp(max=_LARGEST_GAIN)[:, None], accompaniment

    def _transformed(
        self, vocals: Tensor, accompaniment: Tensor, stored: list[StoredEstimate], draws: list[_Draw]
    ) -> RemixBatch:
        lowest = [
            min(self.confidence[stored[d.vocals].segment], self.confidence[stored[d.accompaniment].segment])
            for d in draws
        ]
        confidence = torch.stack(lowest).to(vocals.device, non_blocking=True)
        batch = make_batch(vocals, accompaniment, self.geometry, confidence)
        if not self._keeps_strength:
            return batch
        strength = [self._strength(stored, [d.crop(source) for d in draws]) for source in (0, 1)]
        return batch._replace(weights=batch.weights * torch.where(batch.labels, *strength))

    def _strength(self, stored: list[StoredEstimate], crops: list[tuple[int, int]]) -> Tensor:
        """The teacher's posterior strength `(B, F, N)` of the bins of crops."""
        hop, frames = self.geometry.hop_length, self.settings.frames
        parts = [stored[slot].strength[:, start // hop : start // hop + frames] for slot, start in crops]
        return torch.stack(parts).float() / 255


def _crop_length(settings: RemixSettings, geometry: Geometry) -> int:
    """Samples of a sequence: with a hop more there would be a frame more."""
    return (settings.frames - 1) * geometry.hop_length


def _longest_crop(settings: RemixSettings, geometry: Geometry) -> int:
    """Samples that a sequence may need of a segment: a change of speed needs some more."""
    return math.ceil(max(1, _crop_length(settings, geometry)) * (1 + settings.speed))


def mixable_segments(
    bank: Bank,
    settings: RemixSettings,
    labels: Labels | None = None,
    segments: Sequence[int] | None = None,
    rank: int = 0,
    world: int = 1,
) -> list[int]:
    """Select the segments that a rank can remix: trusted, as long as a sequence, with a song to pair with.

    Args: as for `RemixStream`.

    Raises:
        ValueError: where there is none, or the geometry has another sample rate than the bank.
    """
    geometry = settings.geometry or Geometry(bank.sample_rate)
    if geometry.sample_rate != bank.sample_rate:
        raise ValueError(f"geometry has {geometry.sample_rate} Hz, the bank {bank.sample_rate}")
    if labels is None:
        chosen = list(range(len(bank.segments))) if segments is None else sorted(segments)
    else:
        chosen = labels.trusted(*settings.quantiles, segments)
    if not chosen:
        raise ValueError(f"no segment lies between the quantiles {settings.quantiles} of confidence")
    longest = _longest_crop(settings, geometry)
    long = [i for i in chosen if bank.segments[i].length >= longest]
    if not long:
        seconds = longest / bank.sample_rate
        raise ValueError(f"no trusted segment is as long as {settings.frames} frames ({seconds:.1f} s)")
    shard = long[rank::world]
    if not shard:
        raise ValueError(f"fewer trusted segments than processes ({world})")
    if settings.coherent < 1 and len({bank.segments[i].song for i in shard}) < 2:
        name = bank.names[bank.segments[shard[0]].song]
        of = f" by process {rank} of {world}" if world > 1 else ""
        raise ValueError(f"pairs need two songs, only {name} can be used{of}; coherent=1 takes one")
    return shard
