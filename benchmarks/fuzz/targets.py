"""Every public function and class that takes tensors or numbers, with arguments that it accepts."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import torchprim as tp
from benchmarks.fuzz.array import Array
from benchmarks.sound import synthetic_music

_BINS, _FRAMES, SAMPLES, _RATE = 17, 9, 4000, 8000
_GRID = tp.Geometry(_RATE, 32, 8)
AUDIO, AUDIOS = Array((SAMPLES,)), Array((2, SAMPLES))
SPECTROGRAM, MASKS = Array((_BINS, _FRAMES)), Array((_BINS, _FRAMES, 3))
SPECTRUM = Array((2, _BINS, _FRAMES), "complex64")
EMBEDDING, ONE_HOT = Array((1, _BINS, _FRAMES, 4)), Array((1, _BINS, _FRAMES))


def _demo_folder() -> Path:
    from torchprim.audio.find import demo_song

    return demo_song()


def _module(build: Callable[..., Any], *inputs: Any, **more: Any) -> Callable[..., Any]:
    """Return a function of settings that builds a module and calls it."""

    def call(**settings: Any) -> Any:
        return build(**settings)(*(x.build() for x in inputs), **more)

    return call


def _separate(preset: str, audio: Any, sample_rate: Any, channels: Any, n_points: Any, spatial: Any) -> Any:
    return tp.PrimitiveSeparator(preset, n_points=n_points, spatial=spatial)(audio, sample_rate, channels)


def _stems(audio: Any, sample_rate: Any, channels: Any, n_points: Any) -> Any:
    return tp.StemSeparator(n_points=n_points)(audio, sample_rate, channels)


@functools.cache
def _network() -> Any:
    torch.manual_seed(0)
    return tp.build_network(tp.NetworkConfig(kind="unet", heads=("mask",), layers=1, channels=2))


def _network_separator(audio: Any, sample_rate: Any, channels: Any, **settings: Any) -> Any:
    return tp.NetworkSeparator(_network(), **settings)(audio, sample_rate, channels)


@functools.cache
def _network_of_three() -> Any:
    torch.manual_seed(0)
    config = tp.NetworkConfig(
        kind="unet", heads=("mask",), layers=1, channels=2, sources=("drums", "bass", "rest")
    )
    return tp.build_network(config)


def _network_stems(audio: Any, sample_rate: Any, channels: Any, **settings: Any) -> Any:
    return tp.NetworkStemSeparator(_network_of_three(), **settings)(audio, sample_rate, channels)


def _ensemble(audio: Any, sample_rate: Any, **settings: Any) -> Any:
    return tp.EnsembleSeparator(tp.NetworkSeparator(_network()), **settings)(audio, sample_rate)


@functools.cache
def _songs() -> tempfile.TemporaryDirectory:
    folder = tempfile.TemporaryDirectory()
    for number in range(2):
        tp.save(Path(folder.name, f"{number}.wav"), synthetic_music(2.0, _RATE, number)[None], _RATE)
    return folder


def _bank(**settings: Any) -> Any:
    folder = _songs().name
    given = {"sample_rate": _RATE, "segment_seconds": 1.0, "hop_seconds": 0.5, "quietest": -70.0}
    return tp.Bank([folder], cache=Path(folder, "cache"), progress=False, **given | settings)


def _stream(step: Any, labels: Any, **settings: Any) -> Any:
    fixed = {"geometry": _GRID, "frames": 20, "slots": 2, "batch_size": 2, "teacher_batch": 1}
    labels = None if labels is None else tp.Labels(labels, labels, labels)
    return tp.RemixStream(_bank(), _Halves(), labels=labels, **fixed | settings).batch(step)


def _label(**settings: Any) -> Any:
    return tp.label(_bank(), _Halves(), progress=False, **settings)


class _Halves(torch.nn.Module):
    """Teacher that halves the mixture."""

    identity = "halves"

    def forward(self, audio: Any, sample_rate: Any, keep_masks: Any = None) -> Any:
        half, trust = audio / 2, audio.square().mean(-1)
        mask = torch.full((*audio.shape[:-1], _GRID.bins, _GRID.frames(audio.shape[-1])), 0.5)
        return tp.Separation(half, half, mask, trust, trust, trust, {}, sample_rate)


def _saved(audio: Any, sample_rate: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return tp.save(Path(folder, "x.wav"), audio, sample_rate)


def _loaded(name: str) -> Callable[..., Any]:
    def call(sample_rate: Any) -> Any:
        from torchprim.audio.find import demo_song

        return getattr(tp, name)(demo_song(), sample_rate)

    return call


_HIGH_PASS = {"cutoff": 200.0, "sample_rate": _RATE}
_PAIR = {"reference": AUDIO, "estimate": AUDIO}
_SOURCES = {"references": AUDIOS, "estimates": AUDIOS}
_CLUSTERS = {"masks": MASKS, "magnitude": SPECTROGRAM, "weights": Array((3,)), "share": 0.1}
_LOSS = {"embedding": EMBEDDING, "labels": ONE_HOT, "weights": Array((1, _BINS, _FRAMES))}
# name -> function, and arguments that it accepts
TARGETS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "Bank": (_bank, {"sample_rate": _RATE, "segment_seconds": 1.0, "hop_seconds": 0.5, "quietest": -70.0}),
    "EnsembleSeparator": (_ensemble, {"audio": AUDIO, "sample_rate": _RATE, "weight": 1.0, "n_points": 50}),
    "FT2D": (_module(tp.FT2D, SPECTROGRAM), {"neighbourhood": (1, 5), "temperature": 0.0, **_HIGH_PASS}),
    "Geometry": (
        tp.Geometry,
        {"sample_rate": _RATE, "window_length": 64, "hop_length": 16, "window": "hann"},
    ),
    "HPSS": (_module(tp.HPSS, SPECTROGRAM), {"kernel_size": 3, "power": 2.0, **_HIGH_PASS}),
    "LongHPSS": (
        _module(tp.LongHPSS, AUDIO),
        {"kernel_size": 3, "power": 2.0, "window_length": 512, "hop_length": 128},
    ),
    "Melody": (_module(tp.Melody, Array((1025, 9))), {"f_min": 80.0, "f_max": 1000.0, "jump": 12.0}),
    "Mixture": (tp.Mixture, {"audio": AUDIOS, "sample_rate": _RATE}),
    "NetworkConfig": (
        lambda **s: tp.build_network(tp.NetworkConfig(kind="unet", heads=("mask",), **s)),
        {"layers": 1, "channels": 2, "dropout": 0.3, "fine": 0, "mel": 0, "beta": 10.0},
    ),
    "NetworkSeparator": (
        _network_separator,
        {
            "audio": AUDIOS,
            "sample_rate": _RATE,
            "channels": True,
            "beta": 2.0,
            "n_points": 50,
            "spatial": 1.0,
        },
    ),
    "NetworkStemSeparator": (
        _network_stems,
        {"audio": AUDIOS, "sample_rate": _RATE, "channels": True, "beta": 2.0, "n_points": 50},
    ),
    "Preset": (
        tp.Preset,
        {"name": "x", "weights": {"hpss": 1.0}, "beta": 2.5, "kernel_size": 3, "cutoff": 9.0},
    ),
    "PrimitiveSeparator": (
        _separate,
        {
            "preset": "best",
            "audio": AUDIOS,
            "sample_rate": _RATE,
            "channels": True,
            "n_points": 50,
            "spatial": 1.0,
        },
    ),
    "StemSeparator": (_stems, {"audio": AUDIOS, "sample_rate": _RATE, "channels": True, "n_points": 50}),
    "RemixSettings": (
        tp.RemixSettings,
        {"batch_size": 2, "frames": 20, "ratio": (-2.5, 2.5), "eq": 1.0, "speed": 0.05, "coherent": 0.5}
        | {"pool": 5, "slots": 2, "every": 2, "teacher_batch": 1, "quantiles": (0.25, 1.0)},
    ),
    "RemixStream": (
        _stream,
        {"step": 0, "labels": None, "segments": (0, 4), "seed": 0, "rank": 0, "world": 1, "pool": 5},
    ),
    "RepetSim": (_module(tp.RepetSim, SPECTROGRAM), {"apart": 0.001, "count": 3, **_HIGH_PASS}),
    "Spatial": (_module(tp.Spatial, SPECTRUM, SPECTROGRAM), {"strength": 1.0, "sample_rate": _RATE}),
    "StemBank": (
        lambda **s: tp.StemBank([str(_demo_folder())], progress=False, **s),
        {"sample_rate": _RATE, "segment_seconds": 1.0, "threads": 1},
    ),
    "confidence_measure": (tp.confidence_measure, {**_CLUSTERS, "beta": 5.0, "n_points": 20}),
    "deep_clustering_loss": (tp.deep_clustering_loss, {**_LOSS, "classes": 2}),
    "embed": (
        lambda masks: tp.embed([masks.build() if isinstance(masks, Array) else masks]),
        {"masks": MASKS},
    ),
    "ft2d": (tp.ft2d, {"magnitude": SPECTROGRAM, "neighbourhood": (1, 5), "temperature": 0.0, **_HIGH_PASS}),
    "high_pass": (tp.high_pass, {"bins": 9, "sample_rate": _RATE, "cutoff": 200.0, "like": SPECTROGRAM}),
    "hpss": (tp.hpss, {"magnitude": SPECTROGRAM, "kernel_size": 3, "power": 2.0, **_HIGH_PASS}),
    "ideal_ratio_mask": (tp.ideal_ratio_mask, {"vocals": AUDIO, "accompaniment": AUDIO}),
    "istft": (tp.istft, {"spectrum": SPECTRUM, "geometry": _GRID, "length": 60}),
    "label": (_label, {"batch_size": 2, "rank": 0, "world": 1}),
    "load_audio": (_loaded("load_audio"), {"sample_rate": 8000}),
    "load_stems": (_loaded("load_stems"), {"sample_rate": 8000}),
    "long_hpss": (tp.long_hpss, {"audio": AUDIO, "kernel_size": 3, "window_length": 512, "hop_length": 128}),
    "mask_loss": (
        tp.mask_loss,
        {"mask": Array((1, _BINS, _FRAMES)), "vocals_share": 0.5, "order": 1}
        | dict.fromkeys(("mixture", "vocals", "accompaniment"), Array((1, _BINS, _FRAMES), "complex64")),
    ),
    "melody": (
        tp.melody,
        {"magnitude": Array((1025, 9)), "f_min": 80.0, "f_max": 1000.0, "width": 32.0, "bias": 1.0}
        | {"slope": 0.01, "jump": 12.0, "weight": Array((1025, 9)), **_HIGH_PASS, "sample_rate": 44100},
    ),
    "null_mask": (tp.null_mask, {"geometry": _GRID, "like": SPECTROGRAM}),
    "posterior_strength": (tp.posterior_strength, {**_CLUSTERS, "beta": 5.0}),
    "repet_sim": (tp.repet_sim, {"magnitude": SPECTROGRAM, "apart": 0.001, "count": 3, **_HIGH_PASS}),
    "resample": (tp.resample, {"audio": AUDIOS, "old_rate": 8000, "new_rate": 11025}),
    "save": (_saved, {"audio": AUDIOS, "sample_rate": _RATE}),
    "sd_sdr": (tp.sd_sdr, _PAIR),
    "si_sar": (tp.si_sar, _SOURCES),
    "si_sdr": (tp.si_sdr, _PAIR),
    "si_sir": (tp.si_sir, _SOURCES),
    "silhouette": (tp.silhouette, {**_CLUSTERS, "n_points": 20}),
    "snr": (tp.snr, _PAIR),
    "soft_assignment": (tp.soft_assignment, {"masks": MASKS, "weights": Array((3,)), "beta": 5.0}),
    "spatial": (
        tp.spatial,
        {"spectrum": SPECTRUM, "mask": SPECTROGRAM, "strength": 1.0, "sample_rate": _RATE},
    ),
    "stft": (tp.stft, {"audio": AUDIOS, "geometry": _GRID}),
    "track_pitch": (tp.track_pitch, {"audio": AUDIO, "sample_rate": _RATE, "f_min": 80.0, "f_max": 1000.0}),
    "whitened_kmeans_loss": (tp.whitened_kmeans_loss, {**_LOSS, "regularisation": 1e-3, "classes": 2}),
    "metrics.bss_eval": (
        tp.metrics.bss_eval,
        dict.fromkeys(("references", "estimates"), Array((2, 1, 44100))),
    ),
}
# Those that take no tensors and no numbers of their own, or hold what others return.
UNTRIED = {"AudioError", "CheckpointError", "Labels", "NETWORKS", "PRESETS", "PitchTrack", "RemixBatch"}
UNTRIED |= {"Separation", "build_network", "load", "metrics", "separate"}
UNTRIED |= {"StemPreset", "StemSeparation"}
