"""The stages and operators that are compared and timed, in the order of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

import torchprim as tp
from benchmarks.gpu import floors, peers
from benchmarks.gpu.melody_stages import MELODY
from benchmarks.gpu.scene import Scene
from benchmarks.gpu.spatial_stages import SPATIAL
from benchmarks.gpu.stage import Call, Stage
from torchprim.ensemble.clustering import checked_weights
from torchprim.kernels.clustering.embedding_grams import embedding_grams
from torchprim.kernels.clustering.loudest import loudest_bins, values_at
from torchprim.kernels.clustering.silhouette import silhouette_samples
from torchprim.kernels.clustering.soft_assignment import assign
from torchprim.kernels.ft2d.ft2d_masks import ft2d_masks
from torchprim.kernels.ft2d.local_peaks import kept_peaks
from torchprim.kernels.ft2d.real_fft2 import real_fft2, real_ifft2
from torchprim.kernels.hpss.sliding_median import sliding_median
from torchprim.kernels.spectra.magnitude import magnitude, magnitude_and_maxima
from torchprim.kernels.spectra.masked_frames import masked_frames
from torchprim.kernels.spectra.overlap_add import overlap_add
from torchprim.kernels.spectra.wiener_masks import wiener_masks
from torchprim.kernels.spectra.windowed_frames import windowed_frames
from torchprim.spectra.stft import masked_istft

_CUES = range(5)  # masks of a scene, at most


def _stft(s: Scene, audio: Tensor) -> tuple[Tensor, Tensor]:
    spectrum = tp.stft(audio, s.geometry)
    return spectrum, magnitude(spectrum)


def _median(name: str, dim: int) -> Stage:
    return Stage(
        name,
        lambda s: (s.magnitude,),
        lambda s, x: sliding_median(x, s.preset.kernel_size, dim),
        floors.median,
        ("sliding_median",),
        (0,),
        tolerance=0,
        peers={
            "unfold + torch.median": lambda s, x: peers.unfolded_median(x, s.preset.kernel_size, dim),
            "cupyx median_filter": lambda s, x: peers.cupy_median(x, s.preset.kernel_size, dim),
        },
    )


def _hpss_peers() -> Mapping[str, Call]:
    medians = {"unfold + torch.median": peers.unfolded_median, "cupyx median_filter": peers.cupy_median}
    return {
        name: lambda s, x, median=median: peers.hpss_with(median)(x, s.preset.kernel_size)
        for name, median in medians.items()
    }


def _confidence(s: Scene, magnitude: Tensor, *masks: Tensor, points: int | None = 1000):
    settings = (s.separator.cue_weights(), s.preset.beta, points)
    given = {"generator": s.generator, "maxima": s.mixture.maxima()}
    return tp.confidence_measure(list(masks), magnitude, *settings, **given)


def _all_points(s: Scene, magnitude: Tensor, *masks: Tensor):
    """Take all points: a draw depends on the order of the loudest bins, which differs on a GPU."""
    return _confidence(s, magnitude, *masks, points=None)


def _assign(s: Scene, magnitude: Tensor, *masks: Tensor) -> Tensor:
    weights = checked_weights(s.separator.cue_weights(), len(masks), masks[0])
    return assign(masks, weights, s.preset.beta, magnitude)


def _split(s: Scene, mask: Tensor, spectrum: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
    vocals = masked_istft(mask, spectrum, s.geometry, s.samples)
    return vocals, audio - vocals


def _raw_output(s: Scene) -> tuple[Tensor, Tensor, Tensor]:
    """Draw the inputs of a training step's clustering loss, with the scene's batch size."""
    shape = (s.batch, s.bins, min(400, s.frames))
    drawn = {"generator": torch.Generator(s.device).manual_seed(0), "device": s.device}
    logits = torch.randn(shape[0], shape[2], shape[1], 20, dtype=torch.bfloat16, **drawn)
    labels = torch.rand(shape, **drawn) > 0.5
    return logits.transpose(1, 2), labels, torch.rand(shape, **drawn)  # frames first, as from the head


_TRANSFORMS = (
    Stage(
        "STFT and magnitude", lambda s: (s.audio,), _stft, floors.stft, ("magnitude",), (0,), in_pipeline=True
    ),
    Stage(
        "windowed frames",
        lambda s: (s.audio,),
        lambda s, x: windowed_frames(x, s.geometry.window_tensor(x), s.geometry.hop_length),
        floors.overlap_add,
        ("windowed_frames",),
        (0,),
        tolerance=0,
    ),
    Stage(
        "magnitude",
        lambda s: (s.spectrum,),
        lambda s, x: magnitude_and_maxima(x),
        floors.magnitude,
        ("magnitude",),
    ),
    _median("median over frames", -1),
    _median("median over bins", -2),
    Stage(
        "HPSS mask",
        lambda s: (s.magnitude,),
        lambda s, x: s.separator.cues["hpss"].primitive(x),
        floors.hpss,
        ("hpss_mask",),
        (0,),
        peers=_hpss_peers(),
        in_pipeline=True,
    ),
    Stage(
        "2DFT, forward and back",
        lambda s: (s.magnitude[..., : s.bins - s.bins % 2, :],),
        lambda s, x: real_ifft2(real_fft2(x), s.frames),
        floors.ft2d_transforms,
        ("real_fft2",),
        (0,),
    ),
    Stage(
        "2DFT peaks",
        lambda s: (s.plane_spectrum,),
        lambda s, x: kept_peaks(x, s.frames, s.neighbourhood),
        floors.peaks,
        ("local_peaks",),
        (0,),
    ),
    Stage(
        "2DFT masks",
        lambda s: (s.magnitude.contiguous(), s.background, s.magnitude.new_ones(s.batch)),
        lambda s, a, b, highest: ft2d_masks(a, b, highest, 1.0, s.gain),
        floors.ft2d_masks,
        ("ft2d_masks",),
        (0, 1, 2),
    ),
    Stage(
        "2DFT pair",
        lambda s: (s.magnitude,),
        lambda s, x: s.separator.cues["2dft-r"].primitive(x),
        floors.ft2d,
        ("real_fft2", "local_peaks", "ft2d_masks"),
        (0,),
        tolerance=1e-3,
        gradient_tolerance=1e-2,
        in_pipeline=True,
    ),
    Stage(
        "inverse transform of the long window's residual",
        lambda s: (s.long_mask, s.long_spectrum),
        lambda s, m, x: masked_frames(m, x.unsqueeze(1), s.long_geometry.window_length, residual=True),
        floors.residual_frames,
        ("masked_frames",),
        (0,),
    ),
    Stage(
        "mask from two spectra",
        lambda s: (s.spectrum, s.gain),
        lambda s, x, gain: wiener_masks(x.roll(1, -1), x, gain[None]),
        floors.wiener_masks,
        ("wiener_masks",),
    ),
    Stage(
        "long-window HPSS, three transforms",
        lambda s: (s.audio, s.spectrum),
        lambda s, audio, spectrum: s.separator.cues["melody"].weight.primitive(audio, spectrum),
        floors.long_hpss,
        ("magnitude", "hpss_mask", "masked_frames", "overlap_add", "wiener_masks"),
        (0,),
        tolerance=1e-3,
        gradient_tolerance=1e-2,
        in_pipeline=True,
    ),
)

_CLUSTERING = (
    Stage(
        "soft assignment",
        lambda s: (s.magnitude, *s.masks),
        _assign,
        floors.soft_assignment,
        ("soft_assignment",),
        tuple(1 + cue for cue in _CUES),
        in_pipeline=True,
    ),
    Stage(
        "the loudest 1 %",
        lambda s: (s.magnitude,),
        lambda s, x: loudest_bins(x, s.loudest),
        floors.loudest,
        ("loudest",),
        tolerance=1e-3,  # ties of magnitude
        compared=lambda s, x: loudest_bins(x, s.loudest).sort(-1).values,
    ),
    Stage(
        "their masks",
        lambda s: (s.index, *s.masks),
        lambda s, index, *masks: values_at(masks, index),
        floors.values,
        ("loudest",),
        tuple(1 + cue for cue in _CUES),
    ),
    Stage(
        "loudest 1 %, posterior, silhouette of 1000",
        lambda s: (s.magnitude, *s.masks),
        _confidence,
        floors.confidence,
        ("loudest", "silhouette"),
        tuple(1 + cue for cue in _CUES),
        tolerance=1e-3,
        gradient_tolerance=1e-2,
        in_pipeline=True,
        compared=_all_points,
    ),
    Stage(
        "silhouette of all of the loudest 1 %",
        lambda s: (s.points, s.clusters),
        lambda s, points, labels: silhouette_samples(points, labels),
        floors.silhouette,
        ("silhouette",),
        (0,),
        peers={"torch.cdist": lambda s, points, labels: peers.cdist_silhouette(points, labels)},
    ),
    Stage(
        "overlap-add",
        lambda s: (s.windowed,),
        lambda s, x: overlap_add(x, s.geometry.window_tensor(x), s.geometry.hop_length, s.samples),
        floors.overlap_add,
        ("overlap_add",),
        (0,),
    ),
    Stage(
        "inverse transform of a masked spectrum",
        lambda s: (s.masks[0], s.spectrum),
        lambda s, mask, spectrum: masked_frames(mask, spectrum.unsqueeze(1), s.geometry.window_length),
        floors.masked_frames,
        ("masked_frames",),
        (0,),
    ),
    Stage(
        "iSTFT and both stems",
        lambda s: (s.masks[0], s.spectrum, s.audio),
        _split,
        floors.istft,
        ("masked_frames", "overlap_add"),
        (0,),
        in_pipeline=True,
    ),
    Stage(
        "Gram matrices of a network's raw output",
        _raw_output,
        lambda s, *x: embedding_grams(*x, logits=True),
        lambda s: floors.grams(s.batch, s.bins * min(400, s.frames), 20),
        ("embedding_grams",),
        (0,),
        tolerance=1e-3,
        gradient_tolerance=1e-2,  # the gradient is bf16
    ),
)

STAGES: tuple[Stage, ...] = _TRANSFORMS + MELODY + SPATIAL + _CLUSTERING


def find_stage(name: str) -> Stage:
    """Return a stage by name."""
    return next(stage for stage in STAGES if stage.name == name)
