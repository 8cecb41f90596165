"""A folder of music, decoded once and resident on the device, cut into segments."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.audio.loudness import BLOCK_SECONDS, block_powers, gated_loudness
from torchprim.audio.resampling import resample
from torchprim.bootstrap import cache as song_cache
from torchprim.bootstrap.cache import CachedSong
from torchprim.errors import AudioError

RESIDENCES = ("auto", "device", "pinned")
# The share of the device's free memory that a bank may take; the rest is for what works on it.
_SHARE_OF_MEMORY = 0.4


class Segment(NamedTuple):
    """A part of one song, in samples at the bank's rate; loudness in LUFS."""

    song: int
    start: int
    length: int
    loudness: float


class Bank:
    """Songs of one or more folders as int16 mono on one device, and the segments they are cut into.

    Every song is cut into segments of 30 s, 15 s apart (section 4.1 of the paper); quiet ones are
    dropped by loudness (ITU-R BS.1770). A song shorter than that is one segment. Decoding runs in
    threads and is kept on disk, so that a second start reads what the first one decoded.

    Args:
        folders: folders or files of music; see `Bank.from_cache` for none.
        sample_rate: in Hz; songs are resampled to it.
        segment_seconds: length of a segment.
        hop_seconds: distance of two segments' starts.
        quietest: least loudness of a segment in LUFS.
        device: where the songs are used.
        residence: `device`, `pinned` (page-locked host memory), or `auto`: on the device if it fits.
        cache: folder of decoded songs; by default one in the user's cache folder.
        threads: decoding threads; by default one a core.
        progress: whether a bar is shown.

    Attributes:
        names: path of each song, as given.
        segments: what it was cut into.
        skipped: one line for each file that could not be used.

    Raises:
        AudioError: for a path that does not exist, or where no song can be used.
        ValueError: for settings out of range.

    Example:
        >>> import tempfile, torchprim as tp
        >>> from torchprim.audio.find import demo_song
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     bank = tp.Bank([demo_song()], cache=cache, progress=False)
        >>> [(s.song, s.start, s.length) for s in bank.segments], bank.audio([0]).shape
        ([(0, 0, 268288)], torch.Size([1, 268288]))
    """

    # What a song is kept as: one track, the mixture. `StemBank` has two.
    kind = "mixture"
    tracks = 1

    def __init__(
        self,
        folders: Sequence[str | os.PathLike],
        sample_rate: int = 44100,
        *,
        segment_seconds: float = 30.0,
        hop_seconds: float = 15.0,
        quietest: float = -40.0,
        device: str | torch.device = "cpu",
        residence: str = "auto",
        cache: str | os.PathLike | None = None,
        threads: int | None = None,
        progress: bool = True,
    ) -> None:
        checks.positive(sample_rate, "sample_rate")
        checks.positive(segment_seconds, "segment_seconds")
        checks.positive(hop_seconds, "hop_seconds")
        if residence not in RESIDENCES:
            raise ValueError(f"residence must be one of {', '.join(RESIDENCES)}, got {residence!r}")
        self.sample_rate = sample_rate
        self.device = torch.device(device)
        self.skipped: list[str] = []
        cache = song_cache.default_folder() if cache is None else Path(cache)
        songs = list(self._decoded(self._find(folders), cache, threads or os.cpu_count() or 1, progress))
        if not songs:
            given = ", ".join(str(folder) for folder in folders)
            why = f"; the first problem: {self.skipped[0]}" if self.skipped else ""
            raise AudioError(given, f"no song that can be used{why}")
        self._settle(songs, segment_seconds, hop_seconds, quietest, residence)

    @classmethod
    def from_cache(cls, cache: str | os.PathLike, **settings) -> Bank:
        """A bank of every song in a cache folder: needs neither the songs' files nor a decoder.

        Args:
            cache: the folder that an earlier `Bank(..., cache=...)` filled.
            settings: as for `Bank`, without folders and cache.

        Raises:
            AudioError: for a folder without cached songs, or songs of another sample rate.
        """
        paths = sorted(Path(cache).glob("*.npz"))
        songs = [song for song in map(song_cache.read, paths) if song is not None and song.kind == cls.kind]
        if not songs:
            raise AudioError(cache, "no cached songs")
        bank = cls.__new__(cls)
        bank.sample_rate = settings.pop("sample_rate", 44100)
        bank.device = torch.device(settings.pop("device", "cpu"))
        bank.skipped = []
        other = {song.sample_rate for song in songs} - {bank.sample_rate}
        if other:
            raise AudioError(cache, f"songs cached at {sorted(other)[0]} Hz, not {bank.sample_rate}")
        defaults = {"segment_seconds": 30.0, "hop_seconds": 15.0, "quietest": -40.0, "residence": "auto"}
        bank._settle(sorted(songs, key=lambda song: song.name), **(defaults | settings))
        return bank

    def _find(self, folders: Sequence[str | os.PathLike]) -> list[Path]:
        """What can be decoded: one path a song."""
        from torchprim.audio.find import find_files

        return [file.path for file in find_files(folders)]

    def _decode(self, path: Path) -> tuple[Tensor, float]:
        """The tracks `(tracks, T)` of a song, and their rate."""
        from torchprim.audio.load import read

        audio, rate, _ = read(path)
        return audio.mean(0, keepdim=True), rate

    def _song(self, path: Path, cache: Path) -> CachedSong | str:
        """A song from the cache, or decoded into it; a line on why not."""
        try:
            files = [path] if path.is_file() else sorted(x for x in path.iterdir() if x.is_file())
            name = song_cache.key(files, self.kind, self.sample_rate)
            file = cache / f"{name}.npz"
            song = song_cache.read(file)
            if song is None:
                tracks, rate = self._decode(path)
                tracks = resample(tracks, rate, self.sample_rate)
                powers = block_powers(tracks.sum(0), self.sample_rate)
                song_cache.write(cache, name, str(path), self.kind, tracks, powers, self.sample_rate)
                song = song_cache.read(file)
            return song or f"{path}: its cache file {file} cannot be read"
        except AudioError as error:
            return str(error)
        except (OSError, ImportError, ValueError) as error:
            return f"{path}: {error}"

    def _decoded(self, paths: list[Path], cache: Path, threads: int, progress: bool) -> Iterator[CachedSong]:
        from tqdm import tqdm

        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AudioError(cache, f"cannot be used as the bank's cache: {error.strerror}") from error
        with ThreadPoolExecutor(threads) as pool:
            results = pool.map(lambda path: self._song(path, cache), paths)
            bar = tqdm(results, "bank", len(paths), unit="song", disable=not progress, file=sys.stderr)
            for song in bar:
                if isinstance(song, str):
                    self.skipped.append(song)
                    bar.write(f"skipped {song}", file=sys.stderr)
                else:
                    yield song

    def _settle(
        self,
        songs: list[CachedSong],
        segment_seconds: float,
        hop_seconds: float,
        quietest: float,
        residence: str,
    ) -> None:
        self.names = [song.name for song in songs]
        self.segments = [
            segment
            for number, song in enumerate(songs)
            for segment in _segments(number, song, segment_seconds, hop_seconds, quietest)
        ]
        self._scales = [song.scale for song in songs]
        self._offsets = [0]
        for song in songs:
            self._offsets.append(self._offsets[-1] + song.length)
        shape = (self.tracks, self._offsets[-1])
        self.pinned = _is_pinned(residence, self.device, 2 * self.tracks * self._offsets[-1])
        place = torch.device("cpu") if self.pinned else self.device
        self._samples = torch.empty(shape, dtype=torch.int16, device=place, pin_memory=self.pinned)
        for offset, song in zip(self._offsets, songs, strict=False):
            self._samples[:, offset : offset + song.length] = song.samples()

    @property
    def seconds(self) -> float:
        """Length of all songs together."""
        return self._offsets[-1] / self.sample_rate

    def audio(self, indices: Sequence[int]) -> Tensor:
        """Mixtures `(B, T)` of segments of one length, float32, on the bank's device.

        Raises:
            ValueError: for no indices, or segments of different lengths.
        """
        return self._tracks(indices).sum(1)

    def _tracks(self, indices: Sequence[int]) -> Tensor:
        """`(B, tracks, T)`"""
        segments = [self.segments[i] for i in indices]
        lengths = {segment.length for segment in segments}
        if len(lengths) != 1:
            raise ValueError(f"indices must name segments of one length, got lengths {sorted(lengths)}")
        parts = []
        for song, start, length, _ in segments:
            first = self._offsets[song] + start
            part = self._samples[:, first : first + length].to(self.device, non_blocking=True)
            parts.append(song_cache.to_float(part, self._scales[song]))
        return torch.stack(parts)

    def batches(self, batch_size: int, indices: Sequence[int] | None = None) -> Iterator[list[int]]:
        """Segments, in order, in batches of at most `batch_size` that hold one length only."""
        checks.integer(batch_size, "batch_size", 1)
        by_length: dict[int, list[int]] = {}
        for i in range(len(self.segments)) if indices is None else indices:
            by_length.setdefault(self.segments[i].length, []).append(i)
        for group in by_length.values():
            for first in range(0, len(group), batch_size):
                yield group[first : first + batch_size]


def _segments(
    number: int, song: CachedSong, segment_seconds: float, hop_seconds: float, quietest: float
) -> Iterator[Segment]:
    length = round(segment_seconds * song.sample_rate)
    hop = round(hop_seconds * song.sample_rate)
    length = min(length, song.length)
    for start in range(0, song.length - length + 1, hop):
        blocks = [int(edge / song.sample_rate / BLOCK_SECONDS) for edge in (start, start + length)]
        powers = song.powers[blocks[0] : max(blocks[1], blocks[0] + 1)]
        loudness = gated_loudness(powers)
        if loudness >= quietest:
            yield Segment(number, start, length, loudness)


def _is_pinned(residence: str, device: torch.device, size: int) -> bool:
    if device.type != "cuda" or residence == "device":
        return False
    if residence == "pinned":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return size > _SHARE_OF_MEMORY * free
