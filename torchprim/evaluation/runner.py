"""Scores of methods on songs, cached as lines of JSON: a run that was stopped resumes."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchprim import progress
from torchprim.errors import AudioError, one_line
from torchprim.evaluation.methods import Method
from torchprim.evaluation.museval_peer import museval_bss_eval
from torchprim.evaluation.scores import METRICS, closed_form, framewise, is_number, is_table
from torchprim.evaluation.songs import Song, SongIndex, fingerprint, read_song
from torchprim.files import append_json_lines, read_json_lines
from torchprim.metrics.bss_eval_v4 import BSSEval, bss_eval
from torchprim.sources import TWO

Record = dict[str, Any]
BSS = ("none", "torch", "museval")
# What one song can bring about, such as samples beyond what can be computed with: the others are scored.
SONG_ERRORS = (ValueError, MemoryError, torch.OutOfMemoryError)
# field of a record with its numbers -> file of these records
FILES = {"scores": "scores.jsonl", "frames": "bss.jsonl"}


class Settings(NamedTuple):
    """Settings of a run, beside its songs and methods.

    Args:
        stereo: score each channel, instead of the mean of the channels; methods get the channels either way.
        bss: who computes BSSEval v4, one of `BSS`.
        workers: processes of museval.
        device: of the methods.
        sources: names of the stems that are scored.
    """

    stereo: bool = False
    bss: str = "none"
    workers: int = 1
    device: str = "cpu"
    sources: tuple[str, ...] = TWO

    @property
    def channels(self) -> str:
        """The word for `stereo` in a record."""
        return "stereo" if self.stereo else "mono"

    @property
    def sources_word(self) -> str | None:
        """The word for `sources` in a record; records of vocals and accompaniment have none."""
        return None if self.sources == TWO else ",".join(self.sources)

    def key(self, song: str, data: str, method: Method, by: str | None = None) -> tuple:
        """Return the cache key of a result, the `record_key` of its record.

        Args:
            song: its name.
            data: its fingerprint.
            method: that is scored.
            by: who computes BSSEval v4.
        """
        return song, data, method.identity, self.channels, by, self.sources_word


class Results(NamedTuple):
    """Records of all songs that could be used, and the reasons for those that could not."""

    scores: list[Record]
    frames: list[Record]
    problems: dict[str, str]
    sources: tuple[str, ...] = TWO


def read_songs(
    index: SongIndex, settings: Settings, needed: Callable[[str], bool], label: str
) -> Iterator[tuple[Song | None, str, str]]:
    """Read the needed songs one after the other, under a progress bar.

    Yields:
        (song, name, ""), or (None, name, problem).
    """
    names = [name for name in index.songs if needed(name)]
    for name in progress.bar(label, names, unit="song"):
        path = index.songs[name]
        try:
            yield read_song(name, path, settings.device, settings.sources), name, ""
        except (AudioError, OSError, *SONG_ERRORS) as error:
            yield None, name, problem_of(path, error, settings)


def problem_of(path: Path, error: Exception, settings: Settings) -> str:
    """Describe in one line why a song could not be used, without its path."""
    return one_line(path, error, settings.device).partition(": ")[2]


def record_key(record: Record) -> tuple:
    """Return the cache key of a result: song, fingerprint, method, channels, BSSEval's program, sources."""
    return tuple(record.get(field) for field in ("song", "data", "identity", "channels", "by", "sources"))


def read_records(path: Path, is_valid: Callable[[Record], bool]) -> dict[tuple, Record]:
    """Read the latest record of each key; lines of JSON that are no records are left out, as torn ones are.

    Args:
        path: the file.
        is_valid: whether a record holds the numbers that are read.
    """
    return {
        record_key(record): record for record in filter(is_valid, read_json_lines(path)) if _has_key(record)
    }


def _has_key(record: Record) -> bool:
    named = all(isinstance(record.get(field), str) for field in ("song", "method"))
    return (
        named
        and is_number(record.get("seconds"))
        and all(isinstance(value, (str, NoneType)) for value in record_key(record))
    )


def _has_numbers(field: str, sources: Sequence[str]) -> Callable[[Record], bool]:
    """Return a check of the numbers of a file's records, of these sources."""

    def is_list(value: Any) -> bool:
        return isinstance(value, list) and all(map(is_number, value))

    if field == "frames":
        measures = [name.upper() for name in BSSEval._fields]
        return lambda record: is_table(record.get("frames"), measures, is_list, sources)
    return lambda record: all(
        is_table(record.get(name), METRICS, sources=sources) for name in ("scores", "gains")
    )


def run_methods(index: SongIndex, methods: Sequence[Method], settings: Settings, out: Path) -> Results:
    """Score every method on every song; results that `out` holds already are not computed again.

    Writes `scores.jsonl` (closed-form metrics) and, unless `settings.bss` is none, `bss.jsonl` (BSSEval v4,
    frame by frame).

    Args:
        index: from `find_songs`.
        methods: to score.
        settings: of the run.
        out: folder of the results.

    Returns:
        Records of these songs and methods, in their order.

    Raises:
        OSError: where the results cannot be written, or a worker of museval dies.
    """
    paths = {field: out / file for field, file in FILES.items()}
    fields = [field for field in FILES if field == "scores" or settings.bss != "none"]
    data = {name: fingerprint(path) for name, path in index.songs.items()}
    is_valid = {field: _has_numbers(field, settings.sources) for field in fields}
    done = {field: set(read_records(paths[field], is_valid[field])) for field in fields}

    def key(field: str, name: str, method: Method) -> tuple:
        return settings.key(name, data[name], method, settings.bss if field == "frames" else None)

    def missing(name: str, method: Method) -> list[str]:
        return [field for field in fields if key(field, name, method) not in done[field]]

    def needed(name: str) -> bool:
        return any(missing(name, method) for method in methods)

    problems = dict(index.problems)
    pool = _Pool(settings.workers, paths["frames"]) if settings.bss == "museval" else None
    try:
        for song, name, problem in read_songs(index, settings, needed, "compare"):
            if song is None:
                problems[name] = problem
                continue
            for method in methods:
                if missing_fields := missing(name, method):
                    try:
                        _score(song, data[name], method, missing_fields, settings, paths, pool)
                    except SONG_ERRORS as error:
                        problems[name] = problem_of(Path(name), error, settings)
        if pool is not None:
            pool.finish()
    finally:
        if pool is not None:
            pool.close()
    records: dict[str, list[Record]] = {}
    for field in fields:
        latest = read_records(paths[field], is_valid[field])
        pairs = [(key(field, name, method), method.name) for name in index.songs for method in methods]
        # The name may be another than when the record was written: a checkpoint's path.
        records[field] = [{**latest[k], "method": name} for k, name in pairs if k in latest]
    return Results(records["scores"], records.get("frames", []), problems, settings.sources)


def _score(
    song: Song,
    data: str,
    method: Method,
    fields: list[str],
    settings: Settings,
    paths: dict[str, Path],
    pool: _Pool | None,
) -> None:
    """Append the missing records of one method on one song; museval's come later, from its workers."""
    head = {
        "song": song.name,
        "data": data,
        "method": method.name,
        "identity": method.identity,
        "channels": settings.channels,
        "rate": song.sample_rate,
        "seconds": round(song.seconds, 3),
    }
    if settings.sources_word is not None:
        head["sources"] = settings.sources_word
    estimates = method.estimate(song, not settings.stereo)
    song = song if settings.stereo else song.to_mono()
    if "scores" in fields:
        scores, gains = closed_form(song.sources, estimates, song.names)
        append_json_lines(paths["scores"], [{**head, "scores": scores, "gains": gains}])
    if "frames" in fields:
        window = round(song.sample_rate)
        head |= {"by": settings.bss, "window": window, "hop": window}
        if pool is None:
            result = bss_eval(song.sources, estimates, window, window)
            append_json_lines(paths["frames"], [{**head, "frames": framewise(result, song.names)}])
        else:
            pool.submit(head, song.sources.cpu(), estimates.cpu(), window, song.names)


def museval_job(
    head: Record, references: Tensor, estimates: Tensor, window: int, names: Sequence[str]
) -> Record:
    """Compute the record of one track by museval, in a worker; nan where museval refuses a silent source."""
    torch.set_num_threads(1)
    try:
        result = museval_bss_eval(references, estimates, window, window)
    except ValueError:
        frames = max(1, references.shape[-1] // window)
        result = BSSEval(*(torch.full((len(references), frames), torch.nan) for _ in range(4)))
    return {**head, "frames": framewise(result, names)}


class _Pool:
    """Worker processes of museval with a bounded queue; records are written as they are finished."""

    def __init__(self, workers: int, path: Path) -> None:
        context = multiprocessing.get_context("spawn")  # a forked torch may hang
        self.executor = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)
        self.max_pending, self.path = 2 * workers, path
        self.pending: set[concurrent.futures.Future] = set()

    def submit(self, *job) -> None:
        while len(self.pending) >= self.max_pending:
            self._collect()
        self.pending.add(self.executor.submit(museval_job, *job))

    def _collect(self) -> None:
        done, self.pending = concurrent.futures.wait(
            self.pending, return_when=concurrent.futures.FIRST_COMPLETED
        )
        try:
            append_json_lines(self.path, [future.result() for future in done])
        except BrokenProcessPool as error:
            raise OSError("a worker of museval died; fewer --workers need less memory") from error

    def finish(self) -> None:
        while self.pending:
            self._collect()

    def close(self) -> None:
        self.executor.shutdown(wait=True, cancel_futures=True)
