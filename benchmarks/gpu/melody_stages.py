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
from torchprim.kernels.voicing import comb_mask as comb_op
from torchprim.primitives.pitch.salience import log_salience
from torchprim.primitives.pitch.tracking import SHARPNESS
from torchprim.primitives.pitch.voicing import voicing_score


def _torbi(s: Scene, emission: Tensor) -> Tensor:
    settings = torch.tensor([0.01, 12.0, 4.0], device=emission.device)  # slope, jump, switch
    weight, _ = transition(emission.shape[-2], False, 16, *settings)
    return peers.torbi_viterbi(emission, weight.log())


@cache
def _compiled_reference() -> Call:
    return torch.compile(comb_op.reference, fullgraph=True)


def _peaks(s: Scene, magnitude: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return salience_inputs(magnitude, s.loudness, weight, *s.axis, s.scale)


def _counted_peaks(s: Scene, magnitude: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    """Compute the level; of the peaks of a frame sum and mean place; and which places have one.

    The place of a peak half-way between two may be rounded either way: such peaks are counted, and the
    sums hardly depend on them.
    """
    axis, level = _peaks(s, magnitude, weight)
    place = torch.arange(axis.shape[-2], dtype=axis.dtype, device=axis.device)
    total = axis.sum(-2)
    return level, total, (place @ axis) / total.clamp(min=1e-6), axis > 0


MELODY = (
    Stage(
        "salience: peaks and levels",
        lambda s: (s.heard_magnitude, s.moving[..., : s.heard, :]),
        _peaks,
        floors.salience_inputs,
        ("salience_inputs",),
        (0, 1),
        compared=_counted_peaks,
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
        lambda s: (s.magnitude, s.moving),
        lambda s, x, weight: log_salience(x, s.grid, weight, SHARPNESS, s.scale),
        floors.salience,
        ("salience_inputs", "banded_product", "row_median", "salience_mix"),
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
        lambda s: (s.magnitude, s.comb_table, s.path, s.moving),
        lambda s, x, combs, path, weight: voicing_score(x, s.grid, combs, s.teeth, path, weight, s.scale),
        floors.voicing,
        ("voicing_sums",),
        (0, 1, 3),
    ),
    Stage(
        "mask from a table of combs",
        lambda s: (s.magnitude, s.comb_table, s.path, s.height),
        lambda s, *x: comb_op.comb_mask(*x),
        floors.comb_mask,
        ("comb_mask",),
        (1, 3),
        peers={"torch.compile": lambda s, *x: _compiled_reference()(*x)},
    ),
    Stage(
        "melody: salience to mask",
        lambda s: (s.magnitude, s.moving),
        lambda s, x, weight: s.separator.cues["melody"].primitive(x, weight),
        floors.melody,
        in_pipeline=True,
    ),
)
