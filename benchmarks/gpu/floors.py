"""The least that each stage must move and compute, counted from its sizes.

Bytes are read once and written once in each phase; a phase ends where every output needs every input (a
transform along an axis, a maximum over an item), so that nothing can be kept on the chip. `plane` is a
float32 mask of the batch, a complex spectrum two of them; `sound` is the batch's audio.
"""

from __future__ import annotations

from functools import lru_cache

from torch import nn

from benchmarks.gpu.ceilings import Phase
from benchmarks.gpu.scene import Scene
from torchprim.kernels.hpss.selection_network import selection_network
from torchprim.kernels.salience.banded_product import Banded


def extrema_of_median(window: int) -> float:
    """Minima and maxima for one output of a running median: outputs share their windows' common part."""
    networks = (
        (tile, selection_network(window, window // 2, tile)) for tile in (1, 2, 4, 8) if tile <= window
    )
    return min(len(network.steps) / tile for tile, network in networks)


def stft(s: Scene) -> list[Phase]:
    """Audio -> spectrum and magnitude."""
    return [Phase(bytes=s.sound + 3 * s.plane)]


def median(s: Scene) -> list[Phase]:
    per_output = extrema_of_median(s.preset.kernel_size)
    return [Phase(bytes=2 * s.plane, extrema=per_output * s.plane / 4)]


def hpss(s: Scene) -> list[Phase]:
    """Both medians from one read."""
    per_output = 2 * extrema_of_median(s.preset.kernel_size)
    return [Phase(bytes=2 * s.plane, extrema=per_output * s.plane / 4)]


def peaks(s: Scene) -> list[Phase]:
    """Half a complex plane in, as much out; it is as large as a mask."""
    return [Phase(bytes=2 * s.plane)]


def ft2d_masks(s: Scene) -> list[Phase]:
    """Magnitude and background in, for the largest shares; both again, two masks out."""
    return [Phase(bytes=2 * s.plane), Phase(bytes=4 * s.plane)]


def ft2d(s: Scene) -> list[Phase]:
    """Transform; peaks; inverse transform; both masks."""
    return [Phase(bytes=2 * s.plane), *peaks(s), Phase(bytes=2 * s.plane), *ft2d_masks(s)]


def long_hpss(s: Scene) -> list[Phase]:
    """Long STFT; medians of 17 and mask; inverse; short STFT; ratio against the mixture's spectrum."""
    per_output = 2 * extrema_of_median(17)
    return [
        Phase(bytes=s.sound + 2 * s.plane),
        Phase(bytes=4 * s.plane, extrema=per_output * s.plane / 4),
        Phase(bytes=2 * s.plane + s.sound),
        Phase(bytes=s.sound + 2 * s.plane),
        Phase(bytes=5 * s.plane),
    ]


def _pitch_plane(s: Scene) -> int:
    return 4 * s.batch * s.pitches * s.frames


def _heard(s: Scene) -> int:
    """Bytes of a plane below 8 kHz."""
    return s.plane * s.heard // s.bins


def _axis_plane(s: Scene) -> int:
    """Bytes of the logarithmic axis of peaks."""
    return 4 * s.batch * s.summation.depth * s.frames


def salience_inputs(s: Scene) -> list[Phase]:
    """Magnitude and weight in, levels and an axis of peaks out."""
    return [Phase(bytes=3 * _heard(s) + _axis_plane(s))]


@lru_cache(maxsize=8)
def _filled(matrix: Banded) -> int:
    """Numbers of a matrix that are more than rounding."""
    return int((matrix.parts.sum(0).abs() > 1e-7).count_nonzero())


def _product(s: Scene, matrix: Banded, read: int) -> Phase:
    operations = 2 * _filled(matrix) * s.frames * s.batch
    return Phase(bytes=read + _pitch_plane(s), float32=operations)


def product(s: Scene) -> list[Phase]:
    """Levels in, one salience out; what is 0 in the matrix costs nothing."""
    return [_product(s, s.inhibition, _heard(s))]


def row_median(s: Scene) -> list[Phase]:
    return [Phase(bytes=_pitch_plane(s))]


def salience_mix(s: Scene) -> list[Phase]:
    """Both in, for the means of the frames' maxima; both again, one out."""
    return [Phase(bytes=2 * _pitch_plane(s)), Phase(bytes=3 * _pitch_plane(s))]


def salience(s: Scene) -> list[Phase]:
    """All four steps; medians and maxima take what the products have just made, from one read."""
    products = [_product(s, s.summation, _axis_plane(s)), *product(s)]
    return [*salience_inputs(s), *products, *salience_mix(s)]


def viterbi(s: Scene) -> list[Phase]:
    """Emissions in, int16 steps back out; each frame waits for the one before."""
    return [Phase(bytes=1.5 * _pitch_plane(s), steps=s.frames)]


def forward_backward(s: Scene) -> list[Phase]:
    """Forward, keeping its chances; backward, multiplying them in."""
    return [
        Phase(bytes=2 * _pitch_plane(s), steps=s.frames),
        Phase(bytes=3 * _pitch_plane(s), steps=s.frames),
    ]


def comb(s: Scene) -> list[Phase]:
    return [Phase(bytes=s.plane)]


def voicing(s: Scene) -> list[Phase]:
    """Magnitude, weight and comb below 8 kHz, summed over bins."""
    return [Phase(bytes=3 * _heard(s))]


def melody(s: Scene) -> list[Phase]:
    """Salience, path, voicing, and the mask where there is sound."""
    return [*salience(s), *viterbi(s), *voicing(s), Phase(bytes=2 * s.plane)]


def soft_assignment(s: Scene) -> list[Phase]:
    return [Phase(bytes=(s.cues + 1) * s.plane)]


def assign_and_apply(s: Scene) -> list[Phase]:
    """Masks and spectrum in, mask and the vocals' spectrum out."""
    return [Phase(bytes=(s.cues + 5) * s.plane)]


def loudest(s: Scene) -> list[Phase]:
    """One read finds the limit for practical purposes; exact, it is another that lists the bins."""
    return [Phase(bytes=s.plane), Phase(bytes=s.plane)]


def values(s: Scene) -> list[Phase]:
    """A sector of 32 bytes for each value."""
    return [Phase(bytes=32 * s.batch * s.loudest * s.cues)]


def confidence(s: Scene) -> list[Phase]:
    """The loudest bins, their masks, and the distances of 1000 of them."""
    pairs = s.batch * min(1000, s.loudest) ** 2
    return [*loudest(s), *values(s), Phase(float32=pairs * (3 * s.cues + 4))]


def silhouette(s: Scene) -> list[Phase]:
    """All pairs of the loudest 1 %: a difference, a square and a sum for each dimension, and a root."""
    return [Phase(bytes=8 * s.batch * s.loudest * s.cues, float32=s.batch * s.loudest**2 * (3 * s.cues + 4))]


def istft(s: Scene) -> list[Phase]:
    """The vocals' spectrum in, vocals out; the accompaniment is what the mixture has besides."""
    return [Phase(bytes=2 * s.plane + s.sound), Phase(bytes=3 * s.sound)]


def grams(items: int, points: int, dimensions: int) -> list[Phase]:
    """Gram matrices from one read of a bf16 output, boolean labels and weights."""
    read = items * points * (2 * dimensions + 5)
    return [Phase(bytes=read, float32=2 * items * points * dimensions * (dimensions + 2))]


def training_step(network: nn.Module, items: int, bins: int, frames: int) -> list[Phase]:
    """A step of a recurrent network: its products three times, its output written and read twice each way.

    A weight matrix is used once a frame, forward, for the gradient of its input and for its own.
    """
    weights = sum(p.numel() for p in network.parameters() if p.dim() == 2)
    outputs = 2 * items * frames * bins * network.config.dimensions  # bytes of bf16
    products = Phase(bfloat16=6 * weights * items * frames)
    # Written, read by the loss, read by its gradient, which is written, and read for both products.
    return [products, Phase(bytes=6 * outputs)]
