"""Methods over songs, each pair once: results are lines of JSON, and a run that was stopped goes on."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchprim.errors import AudioError, one_line
from torchprim.evaluation.methods import Method
from torchprim.evaluation.museval_peer import museval_bss_eval
from torchprim.evaluation.scores import closed_form, framewise
from torchprim.evaluation.songs import Song, SongIndex, fingerprint, read_song
from torchprim.files import append_json_lines, read_json_lines
from torchprim.metrics.bss_eval_v4 import BSSEval, bss_eval

Record = dict[str, Any]
BSS = ("none", "torch", "museval")


class Settings(NamedTuple):
    """What every record of a run depends on, beside the song and the method."""

    stereo: bool = False
    bss: str = "none"
    workers: int = 1
    device: str = "cpu"

    @property
    def channels(self) -> str:
        """As it stands in a record."""
        return "stereo" if self.stereo else "mono"


class Results(NamedTuple):
    """Records of all songs that could be used, and why the others could not."""

    scores: list[Record]
    frames: list[Record]
    problems: dict[str, str]


def each_song(
    found: SongIndex, settings: Settings, wanted: Callable[[str], bool], what: str
) -> Iterator[tuple[Song | None, str, str]]:
    """Songs that are wanted, read one after the other: (song, name, ""), or (None, name, problem)."""
    from tqdm import tqdm

    names = [name for name in found.songs if wanted(name)]
    for name in tqdm(names, desc=what, unit="song", file=sys.stderr, disable=not names):
        path = found.songs[name]
        try:
            yield read_song(name, path, settings.stereo, settings.device), name, ""
        except (AudioError, OSError, MemoryError, torch.OutOfMemoryError) as error:
            yield None, name, one_line(path, error, settings.device).partition(": ")[2]


def run_methods(found: SongIndex, methods: Sequence[Method], settings: Settings, out: Path) -> Results:
    """Score every method on every song; what `out` holds already is not computed again.

    Writes `scores.jsonl` (closed-form metrics: song, method, channels) and, unless `bss` is none,
    `bss.jsonl` (BSSEval v4, frame by frame).

    Args:
        found: the songs.
        methods: the rows.
        settings: of the run.
        out: folder of the results.

    Returns:
        records of these songs and methods, in their order.
    """
    files = {"scores": out / "scores.jsonl", "frames": out / "bss.jsonl"}
    done = {kind: {record_key(record) for record in read_json_lines(path)} for kind, path in files.items()}
    data = {name: fingerprint(path) for name, path in found.songs.items()}

    def lacks(kind: str, name: str, method: Method) -> bool:
        by = settings.bss if kind == "frames" else None
        key = (name, data[name], method.identity, settings.channels, by)
        return key not in done[kind] and (kind == "scores" or settings.bss != "none")

    def wanted(name: str) -> bool:
        return any(lacks(kind, name, method) for kind in files for method in methods)

    problems = dict(found.problems)
    pool = _Pool(settings.workers, files["frames"]) if settings.bss == "museval" else None
    try:
        for song, name, problem in each_song(found, settings, wanted, "compare"):
            if song is None:
                problems[name] = problem
                continue
            for method in methods:
                kinds = [kind for kind in files if lacks(kind, name, method)]
                if kinds:
                    problem = _score(song, data[name], method, kinds, settings, files, pool)
                    if problem:
                        problems[name] = problem
        if pool is not None:
            pool.finish()
    finally:
        if pool is not None:
            pool.close()
    kept = {kind: _matching(path, found, methods, settings, kind) for kind, path in files.items()}
    return Results(kept["scores"], kept["frames"] if settings.bss != "none" else [], problems)


def record_key(record: Record) -> tuple:
    """What a result is kept under: song and data, method, channels, and who computed BSSEval."""
    return tuple(record.get(field) for field in ("song", "data", "identity", "channels", "by"))


def _score(
    song: Song, data: str, method: Method, kinds: list[str], settings: Settings, files: dict, pool
) -> str:
    """One method on one song; the problem, where the device's memory does not hold it."""
    head = {
        "song": song.name,
        "data": data,
        "method": method.name,
        "identity": method.identity,
        "channels": settings.channels,
        "rate": song.sample_rate,
        "seconds": round(song.seconds, 3),
    }
    try:
        estimates = method.estimate(song)
        if "scores" in kinds:
            scores, gains = closed_form(song.sources, estimates)
            append_json_lines(files["scores"], [{**head, "scores": scores, "gains": gains}])
        if "frames" in kinds:
            window = round(song.sample_rate)
            head |= {"by": settings.bss, "window": window, "hop": window}
            if pool is None:
                result = bss_eval(song.sources, estimates, window, window)
                append_json_lines(files["frames"], [{**head, "frames": framewise(result)}])
            else:
                pool.submit(head, song.sources.cpu(), estimates.cpu(), window)
    except (MemoryError, torch.OutOfMemoryError) as error:
        return one_line(Path(song.name), error, settings.device).partition(": ")[2]
    return ""


def _matching(
    path: Path, found: SongIndex, methods: Sequence[Method], settings: Settings, kind: str
) -> list[Record]:
    """The records of this run among all that a file holds, the last of equal ones, named as now."""
    latest = {record_key(record): record for record in read_json_lines(path)}
    by = settings.bss if kind == "frames" else None
    data = {name: fingerprint(song) for name, song in found.songs.items()}
    keys = [
        ((name, data[name], method.identity, settings.channels, by), method.name)
        for name in found.songs
        for method in methods
    ]
    return [{**latest[key], "method": name} for key, name in keys if key in latest]


def museval_job(head: Record, references: Tensor, estimates: Tensor, window: int) -> Record:
    """In a worker: the record of one track by museval; undefined where it refuses a silent source."""
    torch.set_num_threads(1)
    try:
        result = museval_bss_eval(references, estimates, window, window)
    except ValueError:
        frames = max(1, references.shape[-1] // window)
        result = BSSEval(*(torch.full((len(references), frames), torch.nan) for _ in range(4)))
    return {**head, "frames": framewise(result)}


class _Pool:
    """Worker processes for museval: few tracks wait at a time, results are written as they come."""

    def __init__(self, workers: int, path: Path) -> None:
        context = multiprocessing.get_context("spawn")  # a forked torch may hang
        self.executor = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)
        self.most, self.path = 2 * workers, path
        self.waiting: set[concurrent.futures.Future] = set()

    def submit(self, *job) -> None:
        while len(self.waiting) >= self.most:
            self._collect()
        self.waiting.add(self.executor.submit(museval_job, *job))

    def _collect(self) -> None:
        done, self.waiting = concurrent.futures.wait(
            self.waiting, return_when=concurrent.futures.FIRST_COMPLETED
        )
        try:
            append_json_lines(self.path, [future.result() for future in done])
        except BrokenProcessPool as error:
            raise OSError("a worker of museval died; fewer --workers need less memory") from error

    def finish(self) -> None:
        while self.waiting:
            self._collect()

    def close(self) -> None:
        self.executor.shutdown(wait=True, cancel_futures=True)
