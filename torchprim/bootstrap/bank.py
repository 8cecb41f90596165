"""A folder of music, decoded once and resident on the device, cut into segments."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from torchprim import checks
from torchprim.audio.downmix import downmix
from torchprim.audio.find import find_files
from torchprim.audio.load import read
from torchprim.bootstrap import cache as song_cache
from torchprim.bootstrap.cache import CachedSong
from torchprim.bootstrap.segments import Segment, cut_segments, describe_quiet
from torchprim.errors import AudioError

RESIDENCES = ("auto", "device", "pinned")
# Largest part of the free device memory that a bank takes under `auto`; the rest is for training.
_DEVICE_MEMORY_SHARE = 0.4

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class Bank:
    """Songs of one or more folders as int16 mono on one device, and the segments that they are cut into.

    Every song is cut into segments of 30 s with a hop of 15 s (section 4.1 of the paper); quiet ones are
    dropped by loudness (ITU-R BS.1770). A song shorter than that is one segment. Songs are decoded in
    threads and cached on disk, so that a second start decodes nothing.

    Args:
        folders: folders or files of music, or a single one; None for every song in the cache folder.
        sample_rate: in Hz; songs are resampled to it.
        segment_seconds: length of a segment.
        hop_seconds: hop between segments.
        quietest: minimum loudness of a segment in LUFS.
        device: of the returned audio.
        residence: memory of the samples: `device`, `pinned` (page-locked host memory), or `auto`: on the
            device unless they take more than 40 % of its free memory.
        cache: folder of decoded songs; by default `torchprim/bank` in the user's cache folder.
        threads: decoding threads; by default one a core.
        progress: whether to show a progress bar.

    Attributes:
        names: path of each song, as given.
        segments: list of `Segment`, song by song.
        skipped: one line for each song that gives no segment, with the reason: it could not be decoded, or
            it is too quiet.
        notes: one line for each song that was decoded in part, or whose channels cancel, see `downmix`.

    Raises:
        AudioError: for a path that does not exist, or if no song can be used.
        ValueError: for settings out of range.

    Example:
        >>> import tempfile, torchprim as tp
        >>> from torchprim.audio.find import demo_song
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     bank = tp.Bank([demo_song()], cache=cache, progress=False)
        >>> [(s.song, s.start, s.length) for s in bank.segments], bank.audio([0]).shape
        ([(0, 0, 268288)], torch.Size([1, 268288]))
    """

    # Type and number of a song's tracks: the mixture alone; overridden by `StemBank`.
    kind = "mixture"
    tracks = 1

    def __init__(
        self,
        folders: Paths | None,
        sample_rate: int = 44100,
        *,
        segment_seconds: float = 30.0,
        hop_seconds: float = 15.0,
        quietest: float = -40.0,
        device: str | torch.device = "cpu",
        residence: str = "auto",
        cache: str | os.PathLike[str] | None = None,
        threads: int | None = None,
        progress: bool = True,
    ) -> None:
        checks.positive(sample_rate, "sample_rate")
        checks.positive(segment_seconds, "segment_seconds")
        checks.positive(hop_seconds, "hop_seconds")
        if residence not in RESIDENCES:
            raise ValueError(f"residence must be one of {', '.join(RESIDENCES)}, got {residence!r}")
        self.sample_rate: int = sample_rate
        self.device: torch.device = torch.device(device)
        self.skipped: list[str] = []
        self.notes: list[str] = []
        folder = song_cache.default_folder() if cache is None else Path(cache)
        if folders is None:
            songs = song_cache.read_all(folder, self.kind, sample_rate)
        else:
            folders = [folders] if isinstance(folders, (str, os.PathLike)) else folders
            songs = self._decode_all(folders, folder, threads or os.cpu_count() or 1, progress)
        self.names: list[str] = [song.name for song in songs]
        self.segments: list[Segment] = [
            segment
            for index, song in enumerate(songs)
            for segment in cut_segments(index, song, segment_seconds, hop_seconds, quietest)
        ]
        heard = {segment.song for segment in self.segments}
        for index, song in enumerate(songs):
            if index not in heard:
                self._skip(f"{song.name}: {describe_quiet(song, quietest)}")
        self._scales = [song.scale for song in songs]
        self._offsets = [0]
        for song in songs:
            self._offsets.append(self._offsets[-1] + song.length)
        shape = (self.tracks, self._offsets[-1])
        self.pinned: bool = _use_pinned(residence, self.device, 2 * self.tracks * self._offsets[-1])
        memory = torch.device("cpu") if self.pinned else self.device
        self._samples = torch.empty(shape, dtype=torch.int16, device=memory, pin_memory=self.pinned)
        for offset, song in zip(self._offsets, songs, strict=False):
            self._samples[:, offset : offset + song.length] = song.samples()

    @classmethod
    def from_cache(cls, cache: str | os.PathLike[str], **settings: Any) -> Self:
        """Return a bank of every song in a cache folder, without the songs' files or a decoder.

        Args:
            cache: folder that an earlier `Bank(..., cache=...)` filled.
            settings: the other keyword arguments of the bank.

        Raises:
            AudioError: for a folder without cached songs, or songs of another sample rate.
        """
        return cls(None, cache=cache, **settings)

    def _find(self, folders: Sequence[str | os.PathLike[str]]) -> list[Path]:
        """Find the songs: one path each."""
        return [file.path for file in find_files(folders)]

    def _decode(self, path: Path) -> tuple[Tensor, float]:
        """Decode the tracks `(tracks, T)` of a song; return them with their rate in Hz."""
        audio, rate, notes = read(path)
        self.notes += [str(AudioError(path, note)) for note in notes]
        return downmix(audio)[None], rate

    def _decode_all(
        self, folders: Sequence[str | os.PathLike[str]], cache: Path, threads: int, progress: bool
    ) -> list[CachedSong]:
        """Read or decode all songs in threads; those that fail go to `skipped`."""
        from tqdm import tqdm

        paths = self._find(folders)
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AudioError(cache, f"cannot be used as the bank's cache: {error.strerror}") from error

        def load(path: Path) -> CachedSong | str:
            try:
                return song_cache.read_or_decode(path, cache, self.kind, self.sample_rate, self._decode)
            except AudioError as error:
                return str(error)
            except (OSError, ImportError, ValueError) as error:
                return f"{path}: {error}"

        songs = []
        with ThreadPoolExecutor(threads) as pool:
            results = pool.map(load, paths)
            bar = tqdm(results, "bank", len(paths), unit="song", disable=not progress, file=sys.stderr)
            for song in bar:
                if isinstance(song, str):
                    self._skip(song)
                else:
                    songs.append(song)
        for note in self.notes:
            _say(f"warning: {note}")
        if not songs:
            given = ", ".join(str(folder) for folder in folders)
            why = f"; the first problem: {self.skipped[0]}" if self.skipped else ""
            raise AudioError(given, f"no song that can be used{why}")
        return songs

    def _skip(self, line: str) -> None:
        self.skipped.append(line)
        _say(f"skipped {line}")

    @property
    def seconds(self) -> float:
        """Total duration of all songs."""
        return self._offsets[-1] / self.sample_rate

    def audio(self, indices: Sequence[int]) -> Tensor:
        """Return the mixtures `(B, T)` of segments of one length, float32, on the bank's device.

        Raises:
            ValueError: for no indices, or segments of different lengths.
        """
        return self._gather(indices).sum(1)

    def _gather(self, indices: Sequence[int]) -> Tensor:
        """Dequantise the tracks `(B, tracks, T)` of segments of one length."""
        segments = [self.segments[i] for i in indices]
        lengths = {segment.length for segment in segments}
        if len(lengths) != 1:
            raise ValueError(f"indices must name segments of one length, got lengths {sorted(lengths)}")
        tracks = []
        for song, start, length, _ in segments:
            first = self._offsets[song] + start
            samples = self._samples[:, first : first + length].to(self.device, non_blocking=True)
            tracks.append(song_cache.to_float(samples, self._scales[song]))
        return torch.stack(tracks)

    def batches(self, batch_size: int, indices: Sequence[int] | None = None) -> Iterator[list[int]]:
        """Yield segment indices, in order, in batches of one length and at most `batch_size`."""
        checks.integer(batch_size, "batch_size", 1)
        by_length: dict[int, list[int]] = {}
        for i in range(len(self.segments)) if indices is None else indices:
            by_length.setdefault(self.segments[i].length, []).append(i)
        for group in by_length.values():
            for first in range(0, len(group), batch_size):
                yield group[first : first + batch_size]


def _say(line: str) -> None:
    """Print a line clear of the progress bars."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


def _use_pinned(residence: str, device: torch.device, size: int) -> bool:
    if device.type != "cuda" or residence == "device":
        return False
    if residence == "pinned":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return size > _DEVICE_MEMORY_SHARE * free
