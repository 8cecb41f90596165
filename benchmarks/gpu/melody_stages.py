"""The stages of the melody: salience, the path of the pitch, voicing, and the comb of a mask."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from benchmarks.gpu import floors, peers
from benchmarks.gpu.scene import Scene
from benchmarks.gpu.stage import Call, Stage
from torchprim.kernels.paths.forward_backward import forward_backward
from torchprim.kernels.paths.transition import transition
from torchprim.kernels.paths.viterbi import viterbi
from torchprim.kernels.salience.banded_product import banded_product
from torchprim.kernels.salience.row_median import row_median
from torchprim.kernels.salience.salience_inputs import salience_inputs
from torchprim.kernels.salience.salience_mix import salience_mix
from torchprim.kernels.voicing import harmonic_comb as comb_op
from torchprim.primitives.pitch.salience import log_salience
from torchprim.primitives.pitch.tracking import COMB_WIDTH, SHARPNESS
from torchprim.primitives.pitch.voicing import voicing_score


def _torbi(s: Scene, emission: Tensor) -> Tensor:
    settings = torch.tensor([0.01, 12.0, 4.0], device=emission.device)  # slope, jump, switch
    weight, _ = transition(emission.shape[-2], False, 16, *settings)
    return peers.torbi_viterbi(emission, weight.log())


@cache
def _compiled_reference() -> Call:
    return torch.compile(comb_op.reference, fullgraph=True)


def _compiled_comb(s: Scene, *tensors: Tensor) -> Tensor:
    return _compiled_reference()(*tensors, s.bins, s.geometry.bin_width, 40)


MELODY = (
    Stage(
        "salience: peaks and levels",
        lambda s: (s.relative, s.moving[..., : s.heard, :]),
        lambda s, x, weight: salience_inputs(x, s.loudness, weight, *s.axis),
        floors.salience_inputs,
        ("salience",),
        (0, 1),
    ),
    Stage(
        "salience: product with the combs",
        lambda s: (s.axis_and_level[1],),
        lambda s, x: banded_product(s.inhibition, x),
        floors.product,
        ("banded_product",),
        (0,),
        doubles=False,
    ),
    Stage(
        "salience: median over time",
        lambda s: (s.total,),
        lambda s, x: row_median(x),
        floors.row_median,
        ("row_median",),
        (0,),
        tolerance=0,
    ),
    Stage(
        "salience: mixture of both",
        lambda s: (s.total, s.total.median(-1).values, s.combs),
        lambda s, *x: salience_mix(*x),
        floors.salience_mix,
        ("salience_mix",),
        (0, 1, 2),
    ),
    Stage(
        "salience, whole",
        lambda s: (s.relative, s.moving),
        lambda s, x, weight: log_salience(x, s.grid, weight, SHARPNESS),
        floors.salience,
        ("salience", "banded_product", "row_median", "salience_mix"),
        (0, 1),
        tolerance=1e-3,
        gradient_tolerance=1e-2,
    ),
    Stage(
        "Viterbi",
        lambda s: (s.emission,),
        lambda s, x: viterbi(x),
        floors.viterbi,
        ("viterbi",),
        tolerance=1e-3,
        reference_on_cpu=True,
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
        "voicing",
        lambda s: (s.relative, s.comb, s.path, s.moving),
        lambda s, x, comb, path, weight: voicing_score(x, s.grid, comb, s.teeth, path, weight),
        floors.voicing,
        ("voicing_sums",),
        (0, 1, 3),
    ),
    Stage(
        "harmonic comb",
        lambda s: (s.f0, s.height, torch.tensor(COMB_WIDTH, device=s.device)),
        lambda s, f0, height, width: comb_op.harmonic_comb(f0, height, s.bins, s.geometry.bin_width, width),
        floors.comb,
        ("harmonic_comb",),
        (0, 1, 2),
        peers={"torch.compile": _compiled_comb},
    ),
    Stage(
        "melody: salience to mask",
        lambda s: (s.magnitude, s.moving),
        lambda s, x, weight: s.separator.cues["melody"].primitive(x, weight),
        floors.melody,
        in_pipeline=True,
    ),
)
