"""Pitch trackers on songs: accuracy, what their masks separate, and their cost.

Accuracy by mir_eval on MIR-1K (voice and accompaniment at 0 dB, human labels) and on MUSDB18 previews
(pYIN on the clean vocals as reference); SD-SDR of the comb alone and of the ensemble `best` with it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import torchprim as tp
from benchmarks.data import SPLITS, MissingData, data_root, preview_paths, read_preview
from benchmarks.sound import synthetic_music
from benchmarks.trackers import HOP, RATE, Curve, on_grid, pyin, trackers
from torchprim.audio.load import load_audio
from torchprim.evaluation.markdown import table
from torchprim.evaluation.provenance import processor_line, versions_line
from torchprim.primitives.pitch.harmonic_comb import harmonic_comb
from torchprim.spectra.high_pass import high_pass

_MEASURES = (
    "Raw Pitch Accuracy",
    "Raw Chroma Accuracy",
    "Voicing Recall",
    "Voicing False Alarm",
    "Overall Accuracy",
)
# Mean SD-SDR with the first version of `melody` (harmonic sum, Viterbi, hard comb; commit 9312710),
# measured with this project's separator on the previews.
_FIRST = {"even": (4.11, 5.23), "odd": (4.12, 5.42)}


class Clip(NamedTuple):
    """A mixture with the pitch of its melody."""

    mixture: Tensor  # (T,)
    sample_rate: float
    reference: Curve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--split", choices=SPLITS, default="odd", help="previews; even: tuning; odd: reporting (default)"
    )
    parser.add_argument(
        "--singer", choices=("abjones", "amy"), default="amy", help="of MIR-1K; abjones: tuning (%(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=2, help="timed repetitions, 2 or more (%(default)s)")


def mir1k(singer: str) -> list[Clip]:
    """Read the clips of one singer, with voice and accompaniment scaled to the same power.

    Raises:
        MissingData: where there are none.
    """
    folder = data_root() / "melody_mir1k"
    clips = []
    for path in sorted(folder.glob(f"{singer}_*.flac")):
        audio, rate = load_audio(path)
        power = audio.square().mean(-1, keepdim=True).sqrt()
        label = np.loadtxt(path.with_suffix(".pv"))
        f0 = 440 * 2 ** ((label - 69) / 12)
        times = 0.02 + 0.02 * np.arange(len(label))  # centres of windows of 40 ms
        clips.append(Clip((0.1 * audio / power).sum(0), rate, Curve(times, f0, label > 0)))
    if not clips:
        raise MissingData(f"no {singer}_*.flac in {folder}: set TORCHPRIM_DATA")
    return clips


def accuracy(reference: Curve, estimate: Curve) -> list[float]:
    """Compute the five melody measures of mir_eval, for which the f0 of an unvoiced frame is negative."""
    import mir_eval

    reference_f0 = np.where(reference.voiced, reference.f0, 0)
    estimated_f0 = np.where(estimate.voiced, estimate.f0, -estimate.f0)
    scores = mir_eval.melody.evaluate(reference.times, reference_f0, estimate.times, estimated_f0)
    return [scores[name] for name in _MEASURES]


def _masks_of(name: str, curve: Curve, separator: tp.PrimitiveSeparator, mixture: tp.Mixture) -> tuple:
    """Compute the melody's mask from a tracker's curve, and the ensemble's mask with it."""
    preset = separator.preset
    _, masks = separator.masks(mixture)
    if not name.startswith("`salience`"):
        bins, frames = mixture.magnitude().shape
        f0, voiced = on_grid(curve, frames)
        gain = high_pass(bins, RATE, preset.cutoff, preset.smooth)
        masks["melody"] = gain * harmonic_comb(f0, voiced, bins, preset.geometry.bin_width)
    ordered = [masks[cue] for cue in separator.cues.names]
    return masks["melody"], tp.soft_assignment(ordered, separator.cue_weights(), preset.beta)


def separation_scores(path: Path, curves: dict[str, Curve]) -> dict[str, tuple[float, float]]:
    """Score each tracker's comb alone and the ensemble with it: SD-SDR, mean of both sources."""
    song = read_preview(path).to_mono()
    vocals, accompaniment, audio = song.vocals[0], song.accompaniment[0], song.mixture[0]
    separator = tp.PrimitiveSeparator("best")
    mixture = tp.Mixture(audio, song.sample_rate)
    scores = {}
    for name, curve in curves.items():
        pair = []
        for mask in _masks_of(name, curve, separator, mixture):
            estimate = tp.istft(mixture.spectrum() * mask, length=audio.shape[-1])
            both = tp.sd_sdr(vocals, estimate) + tp.sd_sdr(accompaniment, audio - estimate)
            pair.append(both.item() / 2)
        scores[name] = tuple(pair)
    return scores


def cpu_seconds(call: Callable[[], object], repeats: int) -> float:
    """Measure the median CPU time of a call on one thread, which other programs do not affect."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def costs(repeats: int) -> dict[str, float]:
    """Time trackers in seconds per second of audio on one thread; ours in batches of 8 x 30 s."""
    song = torch.stack([synthetic_music(30, RATE, seed) for seed in range(8)])
    spectrum = tp.stft(song)
    weight = tp.long_hpss(song, spectrum=spectrum)
    ours = {
        "`salience` (default)": lambda: tp.track_pitch(song, RATE),
        "`melody`, mask from the spectrogram and the weight": lambda: tp.melody(
            spectrum.abs(), weight=weight
        ),
        "tracker and mask in one: STFT, long HPSS, `melody`": lambda: _track_and_mask(song),
    }
    seconds = {name: cpu_seconds(call, repeats) / 240 for name, call in ours.items()}
    short = song[0, : 10 * RATE]
    for name, tracker in trackers().items():
        if name not in seconds:
            seconds[name] = cpu_seconds(lambda tracker=tracker: tracker(short, RATE), repeats) / 10
    return seconds


def _track_and_mask(song: Tensor) -> Tensor:
    spectrum = tp.stft(song)
    return tp.melody(spectrum.abs(), weight=tp.long_hpss(song, spectrum=spectrum), cutoff=220)


def run(options: argparse.Namespace) -> str:
    from tqdm import tqdm

    torch.set_num_threads(1)
    clips, paths = mir1k(options.singer), preview_paths(options.split)
    installed = trackers()
    accuracies: dict[str, dict[str, list]] = {name: {"mir": [], "previews": []} for name in installed}
    separations: dict[str, list] = {}
    with torch.inference_mode(), tqdm(total=len(clips) + len(paths), desc="melody") as bar:
        for clip in clips:
            for name, tracker in installed.items():
                curve = tracker(clip.mixture, clip.sample_rate)
                accuracies[name]["mir"].append(accuracy(clip.reference, curve))
            bar.update()
        for path in paths:
            song = read_preview(path).to_mono()
            vocals, mixture = song.vocals[0], song.mixture[0]
            reference = pyin(vocals)
            curves = {name: tracker(mixture, song.sample_rate) for name, tracker in installed.items()}
            for name, curve in curves.items():
                accuracies[name]["previews"].append(accuracy(reference, curve))
            oracle = installed["`salience` (default)"](vocals, song.sample_rate)
            curves["our tracker on the clean vocals (oracle), comb of height 1"] = oracle._replace(
                voiced=np.ones_like(oracle.voiced)
            )
            for name, pair in separation_scores(path, curves).items():
                separations.setdefault(name, []).append(pair)
            bar.update()
        seconds = costs(options.repeats)
    return _page(options, len(clips), len(paths), accuracies, separations, seconds)


def _page(
    options: argparse.Namespace,
    clips: int,
    previews: int,
    accuracies: dict[str, dict[str, list]],
    separations: dict[str, list],
    seconds: dict[str, float],
) -> str:
    head = ["", "raw pitch", "raw chroma", "voicing recall", "false alarm", "overall"]

    def rows(data: str) -> list[list[str]]:
        means = {name: np.mean(by_data[data], 0) for name, by_data in accuracies.items()}
        return [[name, *(f"{value:.3f}" for value in values)] for name, values in means.items()]

    quality = [
        [name, *(f"{statistics.fmean(values):.2f}" for values in zip(*pairs, strict=True))]
        for name, pairs in separations.items()
    ]
    if options.split in _FIRST:
        quality.append(["first version of `melody`", *(f"{value:.2f}" for value in _FIRST[options.split])])
    absent = "" if len(accuracies) > 2 else " Essentia is not installed: `pip install --pre essentia`."
    return "\n\n".join(
        [
            "# Melody",
            f"MIR-1K, singer {options.singer}, {clips} clips, voice and accompaniment at 0 dB, human labels "
            f"(mir_eval, mean over clips).{absent}",
            table(head, rows("mir")),
            f"{previews} previews of MUSDB18, split `{options.split}`; the reference is pYIN on the clean "
            "vocals, which misses quiet and rough singing and hears reverberation: voicing is judged "
            "harshly.",
            table(head, rows("previews")),
            "SD-SDR (dB, mean over songs and both sources) of the mask alone and of the ensemble `best` "
            f"with it, cut at {tp.PRESETS['best'].cutoff:g} Hz. Other trackers' combs are hard: 1 where "
            "voiced, 0 elsewhere. The first version's row was measured at 220 Hz.",
            table(["f0 from", "mask alone", "ensemble `best`"], quality),
            f"CPU seconds per second of audio, one thread, {options.repeats} repetitions after one that is "
            f"not counted; ours in batches of 8 x 30 s, the others on 10 s. Hop {HOP} at {RATE} Hz.",
            table(["", "s / s"], [[name, f"{value:.4f}"] for name, value in seconds.items()]),
            f"{versions_line('mir_eval', 'librosa', 'torchcrepe', 'essentia')}. {processor_line()}.",
        ]
    )
