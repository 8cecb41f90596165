"""What is compared and timed: one entry a stage or operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import torchprim as tp
from benchmarks.gpu import floors, peers
from benchmarks.gpu.ceilings import Phase
from benchmarks.gpu.scene import F_MAX, F_MIN, Scene
from torchprim.clustering import checked_weights
from torchprim.kernels import harmonic_comb as comb_op
from torchprim.kernels.embedding_grams import embedding_grams
from torchprim.kernels.forward_backward import forward_backward, transition
from torchprim.kernels.local_peaks import local_peaks
from torchprim.kernels.silhouette import silhouette_samples
from torchprim.kernels.sliding_median import sliding_median
from torchprim.kernels.soft_assignment import assign_and_apply
from torchprim.kernels.viterbi import viterbi
from torchprim.salience import salience
from torchprim.tracking import COMB_WIDTH

Call = Callable[..., Any]


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline, or one operator of it.

    Args:
        name: in the tables.
        inputs: tensors that it reads, of a scene.
        call: scene and those tensors -> result, by the public functions.
        floor: what it must do at least.
        operators: operators whose kernels it must launch where they have one; it is compared with its
            references if there are any.
        gradients: which inputs receive one.
        tolerance: of ‖kernel - reference‖ / ‖reference‖; for whole numbers, the share that may differ.
        slack: the same for gradients.
        peers: name -> the same by other means.
        whole: a part of the whole pipeline; those add up to it.
    """

    name: str
    inputs: Callable[[Scene], tuple[Tensor, ...]]
    call: Call
    floor: Callable[[Scene], list[Phase]]
    operators: tuple[str, ...] = ()
    gradients: tuple[int, ...] = ()
    tolerance: float = 1e-4
    slack: float = 1e-3
    peers: Mapping[str, Call] = field(default_factory=dict)
    whole: bool = False


def _medians(dim: int) -> Mapping[str, Call]:
    return {
        "unfold + torch.median": lambda s, x: peers.unfolded_median(x, s.preset.kernel_size, dim),
        "cupyx median_filter": lambda s, x: peers.cupy_median(x, s.preset.kernel_size, dim),
    }


def _split(s: Scene, spectrum: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
    vocals = tp.istft(spectrum, s.geometry, s.samples)
    return vocals, audio - vocals


def _assign(s: Scene, spectrum: Tensor, *masks: Tensor) -> tuple[Tensor, Tensor]:
    weights = checked_weights(s.separator.cue_weights(), len(masks), masks[0])
    return assign_and_apply(masks, weights, s.preset.beta, spectrum)


def _stft(s: Scene, audio: Tensor) -> tuple[Tensor, Tensor]:
    spectrum = tp.stft(audio, s.geometry)
    return spectrum, spectrum.abs()


def _raw_output(s: Scene) -> tuple[Tensor, Tensor, Tensor]:
    """What the clustering loss of a training step reads, in batches of the scene's."""
    shape = (s.batch, s.bins, min(400, s.frames))
    drawn = {"generator": torch.Generator(s.device).manual_seed(0), "device": s.device}
    logits = torch.randn(shape[0], shape[2], shape[1], 20, dtype=torch.bfloat16, **drawn)
    labels = torch.rand(shape, **drawn) > 0.5
    return logits.transpose(1, 2), labels, torch.rand(shape, **drawn)  # frames first, as the head makes it


def _torbi(s: Scene, emission: Tensor) -> Tensor:
    weight = transition(emission.shape[-2], False, 16, 0.01, 12.0, 4.0, emission)
    return peers.torbi_viterbi(emission, weight.log())


_CUES = range(5)  # at most; the masks that a scene has

STAGES: tuple[Stage, ...] = (
    Stage("STFT and magnitude", lambda s: (s.audio,), _stft, floors.stft, whole=True),
    Stage(
        "median over frames",
        lambda s: (s.magnitude,),
        lambda s, x: sliding_median(x, s.preset.kernel_size, -1),
        floors.median,
        ("sliding_median",),
        (0,),
        tolerance=0,
        peers=_medians(-1),
    ),
    Stage(
        "median over bins",
        lambda s: (s.magnitude,),
        lambda s, x: sliding_median(x, s.preset.kernel_size, -2),
        floors.median,
        ("sliding_median",),
        (0,),
        tolerance=0,
        peers=_medians(-2),
    ),
    Stage(
        "HPSS mask",
        lambda s: (s.magnitude,),
        lambda s, x: s.separator.cues.hpss(x),
        floors.hpss,
        ("sliding_median",),
        (0,),
        peers={
            "unfold + torch.median": lambda s, x: peers.hpss_of(peers.unfolded_median)(
                x, s.preset.kernel_size
            ),
            "cupyx median_filter": lambda s, x: peers.hpss_of(peers.cupy_median)(x, s.preset.kernel_size),
        },
        whole=True,
    ),
    Stage(
        "2DFT peaks",
        lambda s: (s.level,),
        lambda s, x: local_peaks(x, s.bins, s.preset.neighbourhood),
        floors.peaks,
        ("local_peaks",),
        (0,),
    ),
    Stage(
        "2DFT pair",
        lambda s: (s.magnitude,),
        lambda s, x: s.separator.cues.ft2d(x),
        floors.ft2d,
        ("local_peaks",),
        (0,),
        whole=True,
    ),
    Stage(
        "long-window HPSS, three transforms",
        lambda s: (s.audio, s.spectrum),
        lambda s, audio, spectrum: s.separator.cues.long_hpss(audio, spectrum),
        floors.long_hpss,
        ("sliding_median",),
        (0,),
        tolerance=1e-3,
        slack=1e-2,
        whole=True,
    ),
    Stage(
        "salience",
        lambda s: (s.relative, s.moving),
        lambda s, x, weight: salience(x, s.geometry.bin_width, F_MIN, F_MAX, weight),
        floors.salience,
        ("salience",),
        (0, 1),
        tolerance=1e-3,
        slack=1e-2,
    ),
    Stage(
        "Viterbi",
        lambda s: (s.emission,),
        lambda s, x: viterbi(x),
        floors.viterbi,
        ("viterbi",),
        tolerance=1e-3,
        peers={"torbi": _torbi},
    ),
    Stage(
        "forward-backward",
        lambda s: (s.emission,),
        lambda s, x: forward_backward(x),
        floors.forward_backward,
        ("forward_backward",),
        (0,),
        tolerance=1e-3,
    ),
    Stage(
        "harmonic comb",
        lambda s: (s.f0, s.height, torch.tensor(COMB_WIDTH, device=s.device)),
        lambda s, f0, height, width: comb_op.harmonic_comb(f0, height, s.bins, s.geometry.bin_width, width),
        floors.comb,
        ("harmonic_comb",),
        (0, 1, 2),
        peers={
            "torch.compile": lambda s, *x: _compiled(comb_op.reference)(*x, s.bins, s.geometry.bin_width, 40)
        },
    ),
    Stage(
        "melody: salience to mask",
        lambda s: (s.magnitude, s.moving),
        lambda s, x, weight: s.separator.cues.melody(x, weight),
        floors.melody,
        whole=True,
    ),
    Stage(
        "soft assignment",
        lambda s: s.masks,
        lambda s, *masks: tp.soft_assignment(list(masks), s.separator.cue_weights(), s.preset.beta),
        floors.soft_assignment,
        ("soft_assignment",),
        tuple(_CUES),
    ),
    Stage(
        "soft assignment and the vocals' spectrum",
        lambda s: (s.spectrum, *s.masks),
        _assign,
        floors.assign_and_apply,
        ("soft_assignment",),
        tuple(1 + cue for cue in _CUES),
        whole=True,
    ),
    Stage(
        "loudest 1 %, posterior, silhouette of 1000",
        lambda s: (s.magnitude, *s.masks),
        lambda s, x, *masks: tp.confidence_measure(
            list(masks), x, s.separator.cue_weights(), s.preset.beta, generator=s.generator
        ),
        floors.confidence,
        ("silhouette",),
        tuple(1 + cue for cue in _CUES),
        whole=True,
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
    Stage("iSTFT and both stems", lambda s: (s.spectrum, s.audio), _split, floors.istft, whole=True),
    Stage(
        "Gram matrices of a network's raw output",
        _raw_output,
        lambda s, *x: embedding_grams(*x, logits=True),
        lambda s: floors.grams(s.batch, s.bins * min(400, s.frames), 20),
        ("embedding_grams",),
        (0,),
        tolerance=1e-3,
        slack=1e-2,  # the gradient is bf16
    ),
)


def _compiled(function: Call) -> Call:
    """`torch.compile`, once for each function."""
    if function not in _COMPILED:
        _COMPILED[function] = torch.compile(function, fullgraph=True)
    return _COMPILED[function]


_COMPILED: dict[Call, Call] = {}


def find_stage(name: str) -> Stage:
    """A stage by name."""
    return next(stage for stage in STAGES if stage.name == name)
