"""A folder of music, decoded once and resident on the device, cut into segments."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from torchprim import checks
from torchprim.audio.downmix import downmix
from torchprim.audio.find import OwnOutput, find_files
from torchprim.audio.load import Sound, read
from torchprim.bootstrap.banks import cache as song_cache
from torchprim.bootstrap.banks.arguments import (
    Paths,
    check_settings,
    checked_paths,
    usable_device,
    use_pinned,
)
from torchprim.bootstrap.banks.cache import CachedSong
from torchprim.bootstrap.banks.segments import Segment, checked_indices, cut_segments, describe_quiet
from torchprim.errors import AudioError, one_line
from torchprim.files import remove_stale
from torchprim.progress import write


class Bank:
    """Songs of one or more folders as int16 on one device, and the segments that they are cut into.

    Every song is cut into segments of 30 s with a hop of 15 s (section 4.1 of the paper); quiet ones are
    dropped by loudness (ITU-R BS.1770). A song shorter than that is one segment. Songs are decoded in
    threads and cached on disk, so that a second start decodes nothing.

    Args:
        folders: folders or files of music, or a single one; None for every song in the cache folder. What
            torchprim wrote below a folder (see `OwnOutput`) is left out.
        sample_rate: in Hz; songs are resampled to it.
        channels: 1 for the downmix of each song (see `downmix`), or 2 for stereo, in which songs of another
            number of channels have their downmix on both.
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
        AudioError: for a path that does not exist, if no song can be used, or (`CacheError`) if the cache
            cannot hold the songs: it has those that were decoded until then.
        ValueError: for settings out of range.
        TypeError: for folders that are no paths.

    Example:
        >>> import tempfile, torchprim as tp
        >>> from torchprim.audio.find import demo_song
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     bank = tp.Bank([demo_song()], cache=cache, progress=False)
        >>> [(s.song, s.start, s.length) for s in bank.segments], bank.audio([0]).shape
        ([(0, 0, 268288)], torch.Size([1, 268288]))
    """

    # Type and number of a song's tracks: the mixture alone; others in a `StemBank`.
    kind: str = "mixture"
    tracks: int = 1

    def __init__(
        self,
        folders: Paths | None,
        sample_rate: int = 44100,
        *,
        channels: int = 1,
        segment_seconds: float = 30.0,
        hop_seconds: float = 15.0,
        quietest: float = -40.0,
        device: str | torch.device = "cpu",
        residence: str = "auto",
        cache: str | os.PathLike[str] | None = None,
        threads: int | None = None,
        progress: bool = True,
    ) -> None:
        sample_rate = check_settings(sample_rate, segment_seconds, hop_seconds, quietest, residence)
        self.sample_rate: int = sample_rate
        self.channels: int = checks.integer(channels, "channels", 1, 2)
        self.device: torch.device = usable_device(device)
        self.skipped: list[str] = []
        self.notes: list[str] = []
        self._progress = progress
        if cache is not None and not os.fspath(cache):
            raise ValueError(f"cache must name a folder, got {cache!r}")
        self._cache = song_cache.default_folder() if cache is None else Path(cache)
        paths = None if folders is None else checked_paths(folders)
        if paths is None:
            songs = song_cache.read_all(self._cache, self._kind, sample_rate)
        else:
            threads = checks.integer(os.cpu_count() or 1 if threads is None else threads, "threads", 1)
            songs = self._decode_all(paths, threads)
        total = sum(song.length for song in songs)
        self.pinned: bool = use_pinned(residence, self.device, 2 * self.tracks * channels * total)
        memory = torch.device("cpu") if self.pinned else self.device
        self._samples = torch.empty(
            (self.tracks * channels, total), dtype=torch.int16, device=memory, pin_memory=self.pinned
        )
        self._offsets = [0]
        songs = list(self._copied(songs, anew=paths is not None))
        if not songs:
            given = self._cache if paths is None else ", ".join(map(str, paths))
            why = f"; the first problem: {self.skipped[0]}" if self.skipped else ""
            raise AudioError(given, f"no song that can be used{why}")
        self.names: list[str] = [song.name for song in songs]
        self._scales = [song.scale for song in songs]
        self.segments: list[Segment] = []
        for index, song in enumerate(songs):
            segments = list(cut_segments(index, song, segment_seconds, hop_seconds, quietest))
            self.segments += segments
            for note in song.notes:
                self.notes.append(str(AudioError(song.name, note)))
                _say(f"warning: {self.notes[-1]}")
            if not segments:
                self._skip(song.name, AudioError(song.name, describe_quiet(song, quietest)))

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
        """Find the songs: one path each, without what torchprim wrote."""
        own = OwnOutput()
        paths = [file.path for file in find_files(folders, exclude=own)]
        if own.count:
            _say(f"{own.count} files that torchprim wrote are left out")
        return paths

    def _decode(self, path: Path) -> Sound:
        """Decode the tracks `(tracks, channels, T)` of a song."""
        audio, rate, notes = read(path)
        return Sound(self._mixed(audio)[None], rate, notes)

    def _mixed(self, audio: Tensor, like: Tensor | None = None) -> Tensor:
        """Mix `(..., C, T)` to the bank's channels, `like` as for `downmix`."""
        if self.channels == audio.shape[-2] == 2:
            return audio
        return downmix(audio, like).unsqueeze(-2).expand(*audio.shape[:-2], self.channels, -1)

    @property
    def _kind(self) -> str:
        """Type of the tracks in the cache."""
        return self.kind if self.channels == 1 else f"{self.kind}, {self.channels} channels"

    def _read_or_decode(self, path: Path, anew: bool = False) -> CachedSong:
        return song_cache.read_or_decode(path, self._cache, self._kind, self.sample_rate, self._decode, anew)

    def _decode_all(self, folders: Sequence[str | os.PathLike[str]], threads: int) -> list[CachedSong]:
        """Read or decode all songs in threads; those that fail go to `skipped`."""
        paths = self._find(folders)
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AudioError(self._cache, f"cannot be used as the bank's cache: {error.strerror}") from error
        remove_stale(self._cache)

        songs = song_cache.load_all(paths, self._read_or_decode, threads, self._progress)
        for path, song in zip(paths, songs, strict=True):
            if isinstance(song, Exception):
                self._skip(path, song)
        return [song for song in songs if isinstance(song, CachedSong)]

    def _copied(self, songs: Iterable[CachedSong], anew: bool) -> Iterator[CachedSong]:
        """Copy the samples of songs to the bank, one after another; yield those that could be read.

        Args:
            songs: from the cache.
            anew: whether a song whose cache file is damaged can be decoded anew.
        """
        for song in songs:
            try:
                try:
                    samples = song.samples()
                except AudioError:
                    if not anew:
                        raise
                    _say(f"note: {song.name}: its file in the cache is damaged, and it is decoded anew")
                    song, length = self._read_or_decode(Path(song.name), anew=True), song.length
                    if song.length != length:
                        raise AudioError(song.name, "has changed while it was read") from None
                    samples = song.samples()
            except song_cache.CacheError:
                raise
            except Exception as error:
                self._skip(song.name, error)
                continue
            start = self._offsets[-1]
            self._offsets.append(start + song.length)
            self._samples[:, start : start + song.length] = samples
            yield song

    def _skip(self, path: str | os.PathLike[str], error: Exception) -> None:
        """Leave a song out, and say why."""
        self.skipped.append(one_line(path, error, "cpu"))
        _say(f"skipped {self.skipped[-1]}")

    def __repr__(self) -> str:
        counts = f"{len(self.names)} songs, {len(self.segments)} segments, {len(self.skipped)} skipped"
        length = f"{self.seconds:.0f} s at {self.sample_rate} Hz"
        return (
            f"{type(self).__name__}({counts}, {length}, on {self.device}{' (pinned)' if self.pinned else ''})"
        )

    @property
    def seconds(self) -> float:
        """Total duration of all songs."""
        return self._offsets[-1] / self.sample_rate

    @property
    def teacher_options(self) -> dict[str, Any]:
        """Options with which a separator is called for this bank's audio: `channels=True` in stereo."""
        return {"channels": True} if self.channels == 2 else {}

    def audio(self, indices: Sequence[int]) -> Tensor:
        """Return the mixtures of segments of one length, float32, on the bank's device.

        Returns:
            `(B, T)`, or `(B, 2, T)` with two channels.

        Raises:
            ValueError: for no indices, one that is no segment's, or segments of different lengths.
        """
        return self._gather(indices).sum(1)

    def _gather(self, indices: Sequence[int]) -> Tensor:
        """Dequantise the tracks of segments of one length, `(B, tracks, T)` or `(B, tracks, 2, T)`."""
        segments = [self.segments[i] for i in checked_indices(indices, len(self.segments), "indices")]
        lengths = {segment.length for segment in segments}
        if len(lengths) != 1:
            raise ValueError(f"indices must name segments of one length, got lengths {sorted(lengths)}")
        tracks = []
        for song, start, length, _ in segments:
            first = self._offsets[song] + start
            samples = self._samples[:, first : first + length].to(self.device, non_blocking=True)
            tracks.append(song_cache.to_float(samples, self._scales[song]))
        stacked = torch.stack(tracks)
        return stacked if self.channels == 1 else stacked.unflatten(1, (self.tracks, self.channels))

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
    write(line, sys.stderr)
