"""Odd arguments of every public function and class, drawn by hypothesis."""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import torchprim as tp
from benchmarks.sound import synthetic_music

_BINS, _FRAMES, _SAMPLES, _RATE = 17, 9, 4000, 8000
_GRID = tp.Geometry(_RATE, 32, 8)


class Array(NamedTuple):
    """Description of a tensor, which can be sent to another process."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    fill: str = "uniform"  # or zeros, nan, inf, negative, huge, tiny
    kind: str = "tensor"  # or meta, numpy, sparse, gradient, view, list

    def build(self) -> Any:
        generator = torch.Generator().manual_seed(0)
        values = torch.rand(self.shape, generator=generator, dtype=torch.float64)
        if self.fill in ("nan", "inf") and values.numel():
            values.view(-1)[-1] = float(self.fill)
        values = values * {"zeros": 0.0, "negative": -1.0, "huge": 1e38, "tiny": 1e-38}.get(self.fill, 1.0)
        tensor = values.to(getattr(torch, self.dtype))
        if self.kind == "view":
            return tensor.mT.contiguous().mT if tensor.dim() > 1 else tensor
        return {
            "tensor": lambda: tensor,
            "meta": lambda: tensor.to("meta"),
            "numpy": lambda: (tensor.float() if self.dtype == "bfloat16" else tensor).numpy(),
            "sparse": lambda: tensor.to_sparse(),
            "gradient": lambda: tensor.requires_grad_(tensor.is_floating_point() or tensor.is_complex()),
            "list": lambda: tensor.tolist(),
        }[self.kind]()


AUDIO, AUDIOS = Array((_SAMPLES,)), Array((2, _SAMPLES))
SPECTROGRAM, MASKS = Array((_BINS, _FRAMES)), Array((3, _BINS, _FRAMES))
SPECTRUM = Array((2, _BINS, _FRAMES), "complex64")
EMBEDDING, ONE_HOT = Array((_BINS, _FRAMES, 4)), Array((_BINS, _FRAMES, 2))


def _module(build: Callable[..., Any], *inputs: Any, **more: Any) -> Callable[..., Any]:
    """Return a function of settings that builds a module and calls it."""

    def call(**settings: Any) -> Any:
        return build(**settings)(*(x.build() for x in inputs), **more)

    return call


def _separate(preset: str, audio: Any, sample_rate: Any, channels: Any, n_points: Any, spatial: Any) -> Any:
    return tp.PrimitiveSeparator(preset, n_points=n_points, spatial=spatial)(audio, sample_rate, channels)


@functools.cache
def _network() -> Any:
    torch.manual_seed(0)
    return tp.build_network(tp.NetworkConfig(kind="unet", heads=("mask",), layers=1, channels=2))


def _network_separator(audio: Any, sample_rate: Any, channels: Any, **settings: Any) -> Any:
    return tp.NetworkSeparator(_network(), **settings)(audio, sample_rate, channels)


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
        return tp.Separation(half, half, mask, trust, trust, trust, {})


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
_LOSS = {"embedding": EMBEDDING, "labels": ONE_HOT, "weights": SPECTROGRAM}
# name -> function, and arguments that it accepts
TARGETS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "Bank": (_bank, {"sample_rate": _RATE, "segment_seconds": 1.0, "hop_seconds": 0.5, "quietest": -70.0}),
    "EnsembleSeparator": (_ensemble, {"audio": AUDIO, "sample_rate": _RATE, "weight": 1.0, "n_points": 50}),
    "FT2D": (_module(tp.FT2D, SPECTROGRAM), {"neighbourhood": (1, 5), "temperature": 0.0, **_HIGH_PASS}),
    "Geometry": (tp.Geometry, {"sample_rate": _RATE, "window_length": 64, "hop_length": 16, "window": "hann"}),
    "HPSS": (_module(tp.HPSS, SPECTROGRAM), {"kernel_size": 3, "power": 2.0, **_HIGH_PASS}),
    "LongHPSS": (_module(tp.LongHPSS, AUDIO), {"kernel_size": 3, "power": 2.0, "window_length": 512}),
    "Melody": (_module(tp.Melody, Array((1025, 9))), {"f_min": 80.0, "f_max": 1000.0, "jump": 12.0}),
    "Mixture": (tp.Mixture, {"audio": AUDIOS, "sample_rate": _RATE}),
    "NetworkConfig": (
        lambda **s: tp.build_network(tp.NetworkConfig(kind="unet", heads=("mask",), **s)),
        {"layers": 1, "channels": 2, "dropout": 0.3, "fine": 0, "mel": 0, "beta": 10.0},
    ),
    "NetworkSeparator": (
        _network_separator,
        {"audio": AUDIOS, "sample_rate": _RATE, "channels": True, "beta": 2.0, "n_points": 50, "spatial": 1.0},
    ),
    "Preset": (tp.Preset, {"name": "x", "weights": {"hpss": 1.0}, "beta": 2.5, "kernel_size": 3, "cutoff": 9.0}),
    "PrimitiveSeparator": (
        _separate,
        {"preset": "best", "audio": AUDIOS, "sample_rate": _RATE, "channels": True, "n_points": 50, "spatial": 1.0},
    ),
    "RemixSettings": (
        tp.RemixSettings,
        {"batch_size": 2, "frames": 20, "ratio": (-2.5, 2.5), "eq": 1.0, "speed": 0.05, "coherent": 0.5}
        | {"pool": 5, "slots": 2, "every": 2, "teacher_batch": 1, "quantiles": (0.25, 1.0)},
    ),
    "RemixStream": (
        _stream,
        {"step": 0, "labels": None, "segments": (0, 1), "seed": 0, "rank": 0, "world": 1, "pool": 5},
    ),
    "RepetSim": (_module(tp.RepetSim, SPECTROGRAM), {"apart": 0.001, "count": 3, **_HIGH_PASS}),
    "Spatial": (_module(tp.Spatial, SPECTRUM, SPECTROGRAM), {"strength": 1.0, "sample_rate": _RATE}),
    "StemBank": (
        lambda **s: tp.StemBank([str(_demo_folder())], progress=False, **s),
        {"sample_rate": _RATE, "segment_seconds": 1.0, "threads": 1},
    ),
    "confidence_measure": (tp.confidence_measure, {**_CLUSTERS, "beta": 5.0, "n_points": 20}),
    "deep_clustering_loss": (tp.deep_clustering_loss, _LOSS),
    "embed": (lambda masks: tp.embed([masks.build() if isinstance(masks, Array) else masks]), {"masks": MASKS}),
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
        {"mask": SPECTROGRAM, "vocals_share": 0.5, "order": 1}
        | dict.fromkeys(("mixture", "vocals", "accompaniment"), Array((_BINS, _FRAMES), "complex64")),
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
    "spatial": (tp.spatial, {"spectrum": SPECTRUM, "mask": SPECTROGRAM, "strength": 1.0, "sample_rate": _RATE}),
    "stft": (tp.stft, {"audio": AUDIOS, "geometry": _GRID}),
    "track_pitch": (tp.track_pitch, {"audio": AUDIO, "sample_rate": _RATE, "f_min": 80.0, "f_max": 1000.0}),
    "whitened_kmeans_loss": (tp.whitened_kmeans_loss, {**_LOSS, "regularisation": 1e-3}),
    "metrics.bss_eval": (tp.metrics.bss_eval, _SOURCES),
}
# Those that take no tensors and no numbers of their own, or hold what others return.
UNTRIED = {"AudioError", "CheckpointError", "Labels", "NETWORKS", "PRESETS", "PitchTrack", "RemixBatch"}
UNTRIED |= {"Separation", "build_network", "load", "metrics"}

_NUMBERS = (0, 1, -1, 2, 3, 1000, -0.5, 0.5, 1e-30, 1e30, 2**31, 2**70, math.nan, math.inf, -math.inf, True)
_OTHERS = (None, "x", "", b"x", (), (0, 0), (-1, 3), (1, 2, 3), [1.0], {}, 1j, np.float32(2), np.int64(3))
_SHAPES = ((), (0,), (1,), (5,), (0, 5), (5, 0), (_SAMPLES, 2), (2, 3, 0), (1, 1), (2, 1, _BINS, _FRAMES))
_DTYPES = ("float32", "float64", "float16", "bfloat16", "int16", "int64", "bool", "complex64", "uint8")
_FILLS = ("uniform", "uniform", "zeros", "nan", "inf", "negative", "huge", "tiny")
_KINDS = ("tensor", "tensor", "meta", "numpy", "sparse", "gradient", "view", "list")


def _demo_folder() -> Path:
    from torchprim.audio.find import demo_song

    return demo_song()


class Call(NamedTuple):
    """A public name, and the arguments that differ from those it accepts."""

    name: str
    odd: dict[str, Any]

    def __str__(self) -> str:
        return f"`{self.name}` with {', '.join(f'{key}={value!r}' for key, value in self.odd.items())}"


def draw_calls(name: str, count: int, seed: int) -> list[Call]:
    """Draw calls, each with one to three odd arguments.

    Raises:
        ImportError: without hypothesis.
    """
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    if count == 0:
        return []
    good = TARGETS[name][1]
    numbers, others = st.sampled_from(_NUMBERS), st.sampled_from(_OTHERS)

    def arrays(like: Array) -> st.SearchStrategy:
        shapes = st.one_of(st.just(like.shape), st.sampled_from(_SHAPES))
        dtypes = st.one_of(st.just(like.dtype), st.sampled_from(_DTYPES))
        return st.builds(Array, shapes, dtypes, st.sampled_from(_FILLS), st.sampled_from(_KINDS))

    scalar = arrays(Array(()))

    def odd(key: str) -> st.SearchStrategy:
        value = good[key]
        usual = arrays(value) if isinstance(value, Array) else st.one_of(numbers, scalar)
        return st.one_of(usual, usual, usual, numbers, others)

    keys = st.lists(st.sampled_from(sorted(good)), min_size=1, max_size=3, unique=True)
    chosen = keys.flatmap(lambda names: st.fixed_dictionaries({key: odd(key) for key in names}))
    calls: list[Call] = []

    @seeded(seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(chosen)
    def collect(values: dict[str, Any]) -> None:
        calls.append(Call(name, values))

    collect()
    return calls


def call(case: Call) -> str:
    """Call the function; return how it ends."""
    function, good = TARGETS[case.name]
    given = {
        key: value.build() if isinstance(value, Array) else value for key, value in (good | case.odd).items()
    }
    try:
        function(**given)
    except (ValueError, TypeError) as error:
        text = str(error)
        clear = 0 < len(text) < 300 and "\n" not in text and type(error) in (ValueError, TypeError)
        return type(error).__name__ if clear else f"{type(error).__name__}: {text[:200]!r}"
    return "result"
