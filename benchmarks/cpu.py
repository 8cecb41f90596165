"""Seconds per second of audio of every primitive and ensemble on the CPU, beside librosa's HPSS.

On synthetic music, in batches of 30 s segments, on one thread and on two; then the peak memory of
`torchprim separate` on a stereo song of 10 minutes, in a process of its own.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import torchprim as tp
from benchmarks.sound import synthetic_music
from benchmarks.timing import Quantiles, Usage, run_child, timed
from torchprim.audio.write import save
from torchprim.ensemble.preset_cues import preset_cues
from torchprim.evaluation.markdown import table
from torchprim.evaluation.provenance import processor_line, versions_line

SECONDS = 30
RATE = 44100
KERNEL = 31  # of the comparison with librosa; the preset `best` has its own
_SHIPPED, _ROWS, _OURS = "librosa HPSS as shipped", "the same through SciPy row by row", "HPSS, 31 x 31"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, default=2, help="segments of 30 s in a batch (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="timed repetitions, 2 or more (%(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="of the song for the memory (%(default)s)")


def librosa_hpss(magnitude: np.ndarray) -> np.ndarray:
    """Compute the mask by librosa as shipped, with SciPy's two-dimensional median filter."""
    import librosa

    return librosa.decompose.hpss(magnitude, kernel_size=KERNEL, mask=True)[0]


def rows_hpss(magnitude: np.ndarray) -> np.ndarray:
    """Compute the same mask by SciPy's faster one-dimensional filter, row by row and column by column."""
    import librosa
    from scipy.ndimage import median_filter

    def medians(lines: np.ndarray) -> np.ndarray:
        return np.stack([median_filter(line, KERNEL, mode="reflect") for line in lines])

    harmonic, percussive = medians(magnitude), medians(np.ascontiguousarray(magnitude.T)).T
    return librosa.util.softmask(harmonic, percussive, power=2.0, split_zeros=True)


def check_equal(magnitude: torch.Tensor) -> None:
    """Check that HPSS and its peers compute the same mask; otherwise their speeds are not comparable.

    Raises:
        RuntimeError: where the masks differ by more than 1e-6.
    """
    ours = tp.hpss(magnitude, KERNEL).numpy()
    nonzero = magnitude.numpy() > 0
    for peer in (librosa_hpss, rows_hpss):
        difference = np.abs(ours - peer(magnitude.numpy()))[nonzero].max()
        if not difference <= 1e-6:
            raise RuntimeError(f"HPSS and {peer.__name__} differ by {difference:.2e}: nothing to compare")


def calls(audio: torch.Tensor) -> dict[str, tuple[Callable[[], object], float]]:
    """Build the timed calls by row, each with the seconds of audio it processes.

    Primitives get spectra that are computed beforehand.
    """
    preset = tp.PRESETS["best"]
    mixture = tp.Mixture(audio, RATE, preset.geometry)
    magnitude = mixture.magnitude()
    first = magnitude[0].numpy()
    all_seconds = audio.shape[0] * SECONDS

    def cue(*names: str) -> Callable[[], object]:
        module = preset_cues(preset, names)

        def call() -> object:
            fresh = tp.Mixture(audio, RATE, preset.geometry)  # an empty cache
            fresh.cached("spectrum", mixture.spectrum)
            fresh.cached("magnitude", mixture.magnitude)
            return module(fresh)

        return call

    ensemble = tp.PrimitiveSeparator("best")
    _, masks = ensemble.masks(mixture)
    weights, beta = list(preset.weights.values()), preset.beta

    def separation(name: str) -> Callable[[], object]:
        separator = tp.PrimitiveSeparator(name)
        return lambda: separator(audio, RATE)

    rows: dict[str, tuple[Callable[[], object], float]] = {
        _SHIPPED: (lambda: librosa_hpss(first), SECONDS),
        _ROWS: (lambda: rows_hpss(first), SECONDS),
        _OURS: (lambda: tp.hpss(magnitude, KERNEL), all_seconds),
    }
    ours = {
        "STFT 2048/512": lambda: tp.stft(audio),
        f"`hpss`, {preset.kernel_size} x {preset.kernel_size}": cue("hpss"),
        "`long-hpss`, with its three transforms": cue("long-hpss"),
        "`2dft-r` and `2dft-m`": cue("2dft-r", "2dft-m"),
        "`melody`": cue("melody"),
        "`repet-sim`": cue("repet-sim"),
        f"clustering of {len(masks)} masks": lambda: tp.soft_assignment(list(masks.values()), weights, beta),
        "confidence, 1000 points": lambda: tp.confidence_measure(
            list(masks.values()), magnitude, weights, beta
        ),
        "ensemble `paper`, audio to stems": separation("paper"),
        "ensemble `companion`, audio to stems": separation("companion"),
        "ensemble `best`, audio to stems": separation("best"),
    }
    return rows | {name: (call, all_seconds) for name, call in ours.items()}


def _cell(seconds: Quantiles, audio_seconds: float) -> str:
    p20, p50, p80 = (value / audio_seconds for value in seconds)
    return f"{p50:.4f} ({p20:.4f} to {p80:.4f})"


def memory_of_a_song(minutes: float) -> Usage:
    """Measure time and peak memory of `torchprim separate` on a stereo WAV, with decoding and writing."""
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder, "song.wav")
        left, right = synthetic_music(60, seed=1), synthetic_music(60, seed=2)
        minute = torch.stack([left, 0.7 * left + 0.3 * right])
        save(song, minute.repeat(1, math.ceil(minutes))[:, : round(minutes * 60 * RATE)], RATE)
        root = str(Path(__file__).resolve().parent.parent)
        arguments = ["separate", str(song), "--out", folder, "--device", "cpu"]
        code = f"from torchprim.cli.main import main\nif main({arguments!r}): raise SystemExit(1)"
        return run_child(code, PYTHONPATH=root)


def run(options: argparse.Namespace) -> str:
    from tqdm import tqdm

    audio = torch.stack([synthetic_music(SECONDS, RATE, seed) for seed in range(options.batch)])
    check_equal(tp.stft(audio[0, : 5 * RATE]).abs())
    default_threads = torch.get_num_threads()
    results: dict[str, list[Quantiles]] = {}
    with torch.inference_mode(), tqdm(desc="cpu", unit="row") as bar:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for name, (call, _) in (rows := calls(audio)).items():
                bar.set_description(f"{threads} thread(s), {name}")
                results.setdefault(name, []).append(timed(call, options.repeats))
                bar.update()
    torch.set_num_threads(default_threads)
    song = memory_of_a_song(options.minutes)
    cells = [[name, *(_cell(time, rows[name][1]) for time in times)] for name, times in results.items()]
    per_second = {name: times[0].p50 / rows[name][1] for name, times in results.items()}
    ratios = [per_second[name] / per_second[_OURS] for name in (_SHIPPED, _ROWS)]
    best = per_second["ensemble `best`, audio to stems"]
    return "\n\n".join(
        [
            "# CPU: seconds per second of audio",
            f"Batches of {options.batch} segments of {SECONDS} s (librosa: one segment at a time), synthetic "
            f"music, {options.repeats} repetitions after one that is not counted: median (20th to 80th "
            "percentile). Primitives start from a spectrogram that is there already, ensembles from audio, "
            "and give stems and confidence. librosa and SciPy use one thread in both columns.",
            table(["", "1 thread", "2 threads"], cells),
            f"On one thread HPSS is **{ratios[0]:.1f} times** as fast as librosa's as shipped and "
            f"{ratios[1]:.1f} times as fast as SciPy's row by row; all three give the same mask to 1e-6. "
            f"The ensemble `best` runs at {1 / best:.0f} times real time.",
            f"`torchprim separate` on {options.minutes:g} minutes of stereo: peak memory "
            f"**{song.peak_bytes / 1e9:.2f} GB**, {song.seconds:.0f} s from start to end "
            f"({default_threads} threads).",
            f"{versions_line('numpy', 'scipy', 'librosa')}. {processor_line()}.",
        ]
    )
