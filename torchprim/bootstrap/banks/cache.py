"""Cache of decoded songs: one `.npz` file a song, its key a hash of the files that it was decoded from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from torchprim.audio.downmix import downmix
from torchprim.audio.load import Sound
from torchprim.audio.loudness import BLOCK_SECONDS, block_powers
from torchprim.audio.resampling import resample
from torchprim.errors import AudioError, is_out_of_memory
from torchprim.files import replaced
from torchprim.progress import bar

_FORMAT = 1
FULL_SCALE = 32767
_LOUDEST = 1e10  # above the samples of any sound, also of 32-bit integers stored as floats
_AUDIBLE = 1e-3  # peak of a block that is not silent
_LEAST_STEPS = 30  # of the int16 samples, that half of the blocks reach; one spike may not take them all


class CacheError(AudioError):
    """Error about the cache folder: it stops a bank, since it would be the same for every song."""


@dataclass(frozen=True)
class CachedSong:
    """Metadata of a cached song; its samples are read from disk on request."""

    name: str
    kind: str  # of its tracks: `Bank.kind`
    length: int  # samples
    scale: float  # audio = samples * scale / 32767; above 1 only where the decoded song is
    powers: Tensor  # (blocks,) float32, see loudness.block_powers
    sample_rate: int
    file: Path
    notes: tuple[str, ...] = ()  # on what could not be decoded

    def samples(self) -> Tensor:
        """Read the channels of all tracks, `(tracks * channels, T)`, int16.

        Raises:
            AudioError: for a file that has become damaged since its metadata were read, or is gone.
        """
        try:
            with np.load(self.file, allow_pickle=False) as archive:
                return torch.from_numpy(archive["samples"])
        except Exception as error:  # zipfile and numpy have many types for what a flipped bit does
            raise AudioError(self.name, f"its cache file {self.file} cannot be read: {error}") from error


def to_int16(audio: Tensor) -> tuple[Tensor, float]:
    """Quantise audio to int16; return samples and scale."""
    scale = max(1.0, audio.abs().max().item())
    return (audio * (FULL_SCALE / scale)).round().to(torch.int16), scale


def to_float(samples: Tensor, scale: Tensor | float) -> Tensor:
    """Dequantise int16 samples to float32 audio."""
    return samples.float() * (scale / FULL_SCALE)


def _check_level(path: Path, tracks: Tensor, rate: float) -> None:
    """Check that int16 samples of one scale hold a song: one flipped bit makes a sample of 1e37.

    Raises:
        AudioError: with the largest sample, where the rest is lost beside it.
    """
    levels = tracks.abs().amax(0)
    scale = levels.max().item()
    if scale <= 1:
        return
    size = min(len(levels), round(BLOCK_SECONDS * rate))
    peaks = levels.unfold(0, size, size).amax(-1)
    audible = peaks[peaks > _AUDIBLE]
    if scale > _LOUDEST or audible.median() < _LEAST_STEPS * scale / FULL_SCALE:
        second = levels.argmax().item() / rate
        raise AudioError(path, f"a sample is {scale:.2g} at {second:.3f} s, far above all sound beside it")


def default_folder() -> Path:
    """Return `$XDG_CACHE_HOME/torchprim/bank`, or the same under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torchprim" / "bank"


def cache_key(paths: Sequence[Path], kind: str, sample_rate: int) -> str:
    """Hash the paths, sizes and modification times of a song's files, the type of its tracks and the rate."""
    facts: list = [_FORMAT, kind, sample_rate]
    for path in paths:
        status = path.stat()
        facts += [str(path.resolve()), status.st_size, status.st_mtime_ns]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def write(folder: Path, key: str, song: CachedSong, samples: Tensor) -> None:
    """Write a song with its samples `(tracks, T)`, int16, to the cache, whole or not at all.

    Raises:
        CacheError: where that is not possible, such as for a full disk.
    """
    try:
        with replaced(folder / f"{key}.npz") as file:
            np.savez(
                file,
                name=np.array(song.name),
                kind=np.array(song.kind),
                samples=samples.numpy(),
                length=np.array(song.length),
                scale=np.array(song.scale),
                powers=song.powers.numpy(),
                sample_rate=np.array(song.sample_rate),
                notes=np.array(song.notes, dtype=np.str_),
            )
    except OSError as error:
        reason = f"cannot hold the decoded songs: {error.strerror or error}; another folder can be given"
        raise CacheError(folder, reason) from error


def read(path: Path) -> CachedSong | None:
    """Read the metadata of a cache file; None where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return CachedSong(
                str(archive["name"]),
                str(archive["kind"]),
                int(archive["length"]),
                float(archive["scale"]),
                torch.from_numpy(archive["powers"]),
                int(archive["sample_rate"]),
                path,
                tuple(archive["notes"].tolist()) if "notes" in archive else (),
            )
    except Exception:  # zipfile and numpy have many types for what a flipped bit does
        return None


def read_all(folder: str | os.PathLike[str], kind: str, sample_rate: int) -> list[CachedSong]:
    """Read every cached song of one type, sorted by name.

    Raises:
        AudioError: for a folder without such songs, or with some at another sample rate.
    """
    songs = [song for song in map(read, sorted(Path(folder).glob("*.npz"))) if song and song.kind == kind]
    if not songs:
        raise AudioError(folder, "no cached songs")
    other_rates = {song.sample_rate for song in songs} - {sample_rate}
    if other_rates:
        raise AudioError(folder, f"songs cached at {min(other_rates)} Hz, not {sample_rate}")
    return sorted(songs, key=lambda song: song.name)


def read_or_decode(
    path: Path,
    folder: Path,
    kind: str,
    sample_rate: int,
    decode: Callable[[Path], Sound],
    anew: bool = False,
) -> CachedSong:
    """Read a song from the cache; a missing or damaged entry is first decoded and written.

    A file of several names (links to it) has one entry.

    Args:
        path: of the song: a file, or a folder of stems.
        folder: of the cache.
        kind: type of the song's tracks.
        sample_rate: in Hz, of the cached samples.
        decode: returns the tracks `(tracks, channels, T)` of a path.
        anew: whether to decode whatever the cache holds.

    Returns:
        the song, with the name `path`.

    Raises:
        AudioError: for a song that cannot be decoded, or whose cache file cannot be read.
        CacheError: where the cache cannot be written.
        ImportError: without a library that decoding needs.
    """
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
    key = cache_key(files, kind, sample_rate)
    file = folder / f"{key}.npz"
    song = None if anew else read(file)
    if song is None:
        tracks, rate, notes = decode(path)
        _check_level(path, tracks.flatten(0, 1), rate)
        tracks = resample(tracks, rate, sample_rate)
        samples, scale = to_int16(tracks.flatten(0, 1))
        powers = block_powers(downmix(tracks.sum(0)), sample_rate)
        new = CachedSong(str(path), kind, tracks.shape[-1], scale, powers, sample_rate, file, notes)
        write(folder, key, new, samples)
        song = read(file)
    if song is None:
        raise AudioError(path, f"its cache file {file} cannot be read")
    return replace(song, name=str(path))


def load_all(
    paths: Sequence[Path], load: Callable[[Path], CachedSong], threads: int, progress: bool
) -> list[CachedSong | Exception]:
    """Load songs in threads, and once more alone those that failed for want of memory.

    Args:
        paths: of the songs.
        load: reads or decodes one.
        threads: number of them.
        progress: whether to show a progress bar.

    Returns:
        each song, or the error that it raised.

    Raises:
        CacheError: at once, where `load` raises it.
    """
    starved: set[Path] = set()

    def attempt(path: Path) -> CachedSong | Exception:
        try:
            return load(path)
        except CacheError:
            raise
        except Exception as error:
            if is_out_of_memory(error) or is_out_of_memory(error.__cause__):
                starved.add(path)
            # Frames of its traceback hold what was decoded, gigabytes of a long song.
            error.__context__ = error.__cause__ = None
            return error.with_traceback(None)

    with ThreadPoolExecutor(threads) as pool:
        results = pool.map(attempt, paths)
        songs = list(bar("bank", results, unit="song", total=len(paths), shows=progress))
    for index, song in enumerate(songs):
        if isinstance(song, Exception) and paths[index] in starved:
            songs[index] = attempt(paths[index])
    return songs
