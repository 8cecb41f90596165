"""From a labelled bank to an endless stream of training mixtures, made on the device."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.audio.resampling import resample
from torchprim.bootstrap.bank import Bank
from torchprim.bootstrap.batch import RemixBatch, make_batch
from torchprim.bootstrap.labels import Labels
from torchprim.bootstrap.seeds import mixed_seed
from torchprim.bootstrap.store import Estimate, RemixStore, pack
from torchprim.spectra.stft import Geometry

# No crop is raised by more: what is nearly silent is left so, rather than its noise blown up.
_LARGEST_GAIN = 10.0
_EQ_POINTS = 8  # of a random equaliser curve, evenly spaced in log frequency


class _Draw(NamedTuple):
    """What an item is made of."""

    vocals: int  # slots of the store
    accompaniment: int
    start_vocals: int
    start_accompaniment: int
    ratio: float  # dB
    coherent: bool

    def place(self, source: int) -> tuple[int, int]:
        """Slot and first sample of the vocals (0) or the accompaniment (1)."""
        if source == 0:
            return self.vocals, self.start_vocals
        return self.accompaniment, self.start_accompaniment


class RemixStream:
    """Endless training batches from estimates of trusted segments (sections 3.2 and 4.1 of the paper).

    The vocals estimate of one segment and the accompaniment estimate of another song's are cut, brought
    to a random level ratio and mixed. Estimates of whole segments are made by the teacher, on its
    device, and kept in a store that is renewed while training goes on.

    A batch is a function of (seed, rank, step) alone: to go on after a stop, set `stream.step`.

    Args:
        bank: the music; with `teacher=None` a `StemBank`, whose true stems are mixed.
        teacher: a separator, such as `PrimitiveSeparator` or what `tp.load` gives.
        batch_size: sequences a batch.
        frames: STFT frames a sequence.
        seed: of every random choice.
        labels: how far segments can be trusted, from `tp.label`; None trusts all.
        segments: the segments of the bank that may be used, such as a training part; None for all.
        quantiles: of the confidence, between which segments are trusted; the paper drops the least
            confident quarter.
        geometry: STFT of magnitudes, labels and weights.
        ratio: lowest and highest level of vocals to accompaniment in dB.
        natural: the ratio is a change of the levels that the estimates have, not the level itself.
        coherent: share of pairs that are the two estimates of one and the same excerpt.
        slots: segments that the store holds.
        every: steps from one renewal of a segment in the store to the next, on average: `teacher_batch`
            of them are renewed at a time.
        eq: standard deviation in dB of a random, smooth equaliser of each source.
        speed: largest relative change of speed (pitch and tempo together) of each source, such as 0.06.
        bin_confidence: whether weights are multiplied by the teacher's posterior strength of each bin.
        pool: number of fixed remixes that are drawn again and again (the paper: 20,000); None for ever
            new ones. A pool keeps the estimates of all its segments.
        rank: of this process.
        world: number of processes; each takes its own part of the trusted segments.
        teacher_batch: segments that the teacher separates at a time.

    Raises:
        ValueError: for settings out of range, and where there is nothing to mix: no trusted segment,
            none as long as a sequence, or one song only and pairs that need two.

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
        batch_size: int,
        frames: int,
        seed: int = 0,
        *,
        labels: Labels | None = None,
        segments: Sequence[int] | None = None,
        quantiles: tuple[float, float] = (0.25, 1.0),
        geometry: Geometry | None = None,
        ratio: tuple[float, float] = (-2.5, 2.5),
        natural: bool = False,
        coherent: float = 0.0,
        slots: int = 128,
        every: int = 4,
        eq: float = 0.0,
        speed: float = 0.0,
        bin_confidence: bool = False,
        pool: int | None = None,
        rank: int = 0,
        world: int = 1,
        teacher_batch: int = 4,
    ) -> None:
        self.batch_size = checks.integer(batch_size, "batch_size", 1)
        self.frames = checks.integer(frames, "frames", 1)
        checks.integer(slots, "slots", 1)
        checks.integer(every, "every", 1)
        checks.integer(teacher_batch, "teacher_batch", 1)
        if not (math.isfinite(ratio[0]) and math.isfinite(ratio[1]) and ratio[0] <= ratio[1]):
            raise ValueError(f"ratio must be two levels in dB, the lower one first, got {ratio}")
        if not 0 <= coherent <= 1:
            raise ValueError(f"coherent must lie in [0, 1], got {coherent}")
        if not 0 <= speed <= 0.5:
            raise ValueError(f"speed must lie in [0, 0.5], got {speed}")
        if bin_confidence and speed:
            raise ValueError(f"bin_confidence needs the excerpts' own time, got speed={speed}")
        if eq < 0:
            raise ValueError(f"eq must not be negative, got {eq}")
        self.bank, self.teacher, self.seed, self.rank = bank, teacher, seed, rank
        self.geometry = geometry or Geometry(bank.sample_rate)
        if self.geometry.sample_rate != bank.sample_rate:
            raise ValueError(f"geometry has {self.geometry.sample_rate} Hz, the bank {bank.sample_rate}")
        self.ratio, self.natural, self.coherent, self.eq, self.speed = ratio, natural, coherent, eq, speed
        self.bin_confidence = bin_confidence and teacher is not None
        self.pool = pool
        self.teacher_batch = teacher_batch
        self.step = 0
        self.confidence = labels.confidence if labels is not None else torch.ones(len(bank.segments))
        # One sample less than a hop short of a further frame; a change of speed needs some more.
        self.length = (self.frames - 1) * self.geometry.hop_length
        self._longest = math.ceil(max(1, self.length) * (1 + speed))
        trusted = self._trusted(labels, quantiles, segments)[rank::world]
        if not trusted:
            raise ValueError(f"fewer trusted segments than processes ({world})")
        if coherent < 1 and len({bank.segments[i].song for i in trusted}) < 2:
            name = bank.names[bank.segments[trusted[0]].song]
            of = f" by process {rank} of {world}" if world > 1 else ""
            raise ValueError(f"pairs need two songs, only {name} can be used{of}; coherent=1 takes one")
        room = len(trusted) if pool is not None else slots
        self.store = RemixStore(trusted, room, every, (seed, rank, 1), self._estimates, teacher_batch)

    def _trusted(
        self, labels: Labels | None, quantiles: tuple[float, float], among: Sequence[int] | None
    ) -> list[int]:
        """Segments that can be mixed, of all ranks."""
        segments = self.bank.segments
        if labels is None:
            chosen = list(range(len(segments))) if among is None else sorted(among)
        else:
            chosen = labels.trusted(*quantiles, among)
        if not chosen:
            raise ValueError(f"no segment lies between the quantiles {quantiles} of confidence")
        long = [i for i in chosen if segments[i].length >= self._longest]
        if not long:
            seconds = self._longest / self.bank.sample_rate
            raise ValueError(f"no trusted segment is as long as {self.frames} frames ({seconds:.1f} s)")
        return long

    def _estimates(self, indices: list[int]) -> list[Estimate]:
        made: dict[int, Estimate] = {}
        with torch.inference_mode():
            for batch in self.bank.batches(self.teacher_batch, sorted(set(indices))):
                if self.teacher is None:
                    vocals, accompaniment = self.bank.stems(batch)
                    masks = None
                else:
                    got = self.teacher(self.bank.audio(batch), self.bank.sample_rate, keep_masks=True)
                    vocals, accompaniment, masks = got.vocals, got.accompaniment, got.mask
                for row, index in enumerate(batch):
                    mask = masks[row] if self.bin_confidence else None
                    made[index] = pack(index, vocals[row], accompaniment[row], mask)
        return [made[index] for index in indices]

    def __iter__(self) -> Iterator[RemixBatch]:
        while True:
            batch = self.batch(self.step)
            self.step += 1
            yield batch

    def batch(self, step: int) -> RemixBatch:
        """The batch of a step."""
        held = self.store.at(step)
        songs = [self.bank.segments[estimate.segment].song for estimate in held]
        draws = [self._draw(held, songs, generator) for generator in self._generators(step)]
        common = torch.Generator().manual_seed(mixed_seed(self.seed, self.rank, 3, step))
        sources = torch.stack([self._crops(held, draws, source, common) for source in (0, 1)])
        vocals, accompaniment = self._levelled(sources, draws)
        return self._transformed(vocals, accompaniment, held, draws)

    def _generators(self, step: int) -> Iterator[torch.Generator]:
        """A generator for each item: of the step, or of the pool's remix that is drawn."""
        base = torch.Generator().manual_seed(mixed_seed(self.seed, self.rank, 2, step))
        for item in range(self.batch_size):
            number = step * self.batch_size + item
            if self.pool is not None:
                number = int(torch.randint(self.pool, (), generator=base))
            yield torch.Generator().manual_seed(mixed_seed(self.seed, self.rank, 4, number))

    def _draw(self, held: list[Estimate], songs: list[int], generator: torch.Generator) -> _Draw:
        def uniform() -> float:
            return float(torch.rand((), generator=generator))

        def start(slot: int) -> int:
            # On the grid of frames: the teacher's mask of the excerpt is then a part of the segment's.
            room = (held[slot].audio.shape[-1] - self._longest) // self.geometry.hop_length
            return int(uniform() * (room + 1)) * self.geometry.hop_length

        vocals = int(uniform() * len(held))
        # A small store may hold one song alone for a while; then the pair is a coherent one.
        others = [slot for slot, song in enumerate(songs) if song != songs[vocals]]
        coherent = uniform() < self.coherent or not others
        accompaniment = vocals if coherent else others[int(uniform() * len(others))]
        ratio = self.ratio[0] + (self.ratio[1] - self.ratio[0]) * uniform()
        begin = start(vocals)
        return _Draw(
            vocals, accompaniment, begin, begin if coherent else start(accompaniment), ratio, coherent
        )

    def _crops(
        self, held: list[Estimate], draws: list[_Draw], source: int, common: torch.Generator
    ) -> Tensor:
        """Excerpts `(B, T)` of one source, with its change of speed and colour."""
        per_mille = 0
        if self.speed:
            span = round(1000 * self.speed)
            per_mille = int(torch.randint(-span, span + 1, (), generator=common))
        length = math.ceil(max(1, self.length) * (1000 + per_mille) / 1000)
        crops = torch.stack(
            [held[slot].crop(source, start, length) for slot, start in (d.place(source) for d in draws)]
        )
        if per_mille:
            crops = resample(crops, 1000 + per_mille, 1000)[:, : max(1, self.length)]
        return self._coloured(crops, common) if self.eq else crops

    def _coloured(self, audio: Tensor, common: torch.Generator) -> Tensor:
        """Each item through a random equaliser: gains in dB at a few frequencies, smooth between."""
        points = self.eq * torch.randn(len(audio), 1, _EQ_POINTS, generator=common)
        spectrum = torch.fft.rfft(audio)
        octaves = torch.linspace(0, 1, spectrum.shape[-1], device=audio.device).clamp(min=1e-4).log2()
        place = ((octaves / 9 + 1).clamp(0, 1) * (_EQ_POINTS - 1)).clamp(max=_EQ_POINTS - 1 - 1e-4)
        low = place.floor().long()
        part = (1 - torch.cos(math.pi * (place - low))) / 2
        points = points[:, 0].to(audio.device, non_blocking=True)
        gain = points[:, low] * (1 - part) + points[:, low + 1] * part
        return torch.fft.irfft(spectrum * 10 ** (gain / 20), n=audio.shape[-1])

    def _levelled(self, sources: Tensor, draws: list[_Draw]) -> tuple[Tensor, Tensor]:
        """Vocals and accompaniment at the drawn ratio; to a coherent pair's own one it is added."""
        vocals, accompaniment = sources
        wanted = torch.tensor([10 ** (d.ratio / 20) for d in draws]).to(vocals.device, non_blocking=True)
        if not self.natural:
            keep = torch.tensor([d.coherent for d in draws]).to(vocals.device, non_blocking=True)
            level = [x.square().mean(-1).sqrt() for x in (vocals, accompaniment)]
            wanted = wanted * torch.where(keep, 1.0, level[1] / level[0].clamp(min=1e-8))
        return vocals * wanted.clamp(max=_LARGEST_GAIN)[:, None], accompaniment

    def _transformed(
        self, vocals: Tensor, accompaniment: Tensor, held: list[Estimate], draws: list[_Draw]
    ) -> RemixBatch:
        lowest = [
            min(self.confidence[held[d.vocals].segment], self.confidence[held[d.accompaniment].segment])
            for d in draws
        ]
        confidence = torch.stack(lowest).to(vocals.device, non_blocking=True)
        batch = make_batch(vocals, accompaniment, self.geometry, confidence)
        if not self.bin_confidence:
            return batch
        strength = [self._strength(held, [d.place(source) for d in draws]) for source in (0, 1)]
        return batch._replace(weights=batch.weights * torch.where(batch.labels, *strength))

    def _strength(self, held: list[Estimate], places: list[tuple[int, int]]) -> Tensor:
        """The teacher's posterior strength (B, F, N) of the bins of excerpts."""
        hop = self.geometry.hop_length
        parts = [held[slot].strength[:, start // hop : start // hop + self.frames] for slot, start in places]
        return torch.stack(parts).float() / 255
