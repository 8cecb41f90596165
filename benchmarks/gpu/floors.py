"""The least that each stage must move and compute, counted from its sizes.

Bytes are read once and written once in each phase; a phase ends where every output needs every input (a
transform along an axis, a maximum over an item), so that nothing can be kept on the chip. `plane` is a
float32 mask of the batch, a complex spectrum two of them; `sound` is the batch's audio.
"""

from __future__ import annotations

from torch import nn

from benchmarks.gpu.ceilings import Phase
from benchmarks.gpu.scene import Scene
from torchprim.kernels.selection_network import selection_network


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
    """Half a plane of magnitudes in, as much out."""
    return [Phase(bytes=s.plane)]


def ft2d(s: Scene) -> list[Phase]:
    """Transform; peaks; inverse transform; both masks. Half of the complex plane is as large as a mask."""
    return [Phase(bytes=2 * s.plane)] * 3 + [Phase(bytes=4 * s.plane)]


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


def salience(s: Scene) -> list[Phase]:
    """Magnitude and weight below 8 kHz in, both saliences out; their medians and means over time; one out.

    The inhibiting combs are one matrix product; the sum over peaks is a gather and costs little.
    """
    heard = s.plane * s.heard // s.bins
    product = 2 * s.pitches * s.heard * s.frames * s.batch
    pitch = _pitch_plane(s)
    return [
        Phase(bytes=2 * heard + 2 * pitch, float32=product),
        Phase(bytes=2 * pitch),
        Phase(bytes=3 * pitch),
    ]


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


def melody(s: Scene) -> list[Phase]:
    """Salience, path, and one pass for voicing and the mask."""
    voicing = Phase(bytes=2 * s.plane * s.heard // s.bins)
    return [*salience(s), *viterbi(s), voicing, Phase(bytes=2 * s.plane)]


def soft_assignment(s: Scene) -> list[Phase]:
    return [Phase(bytes=(s.cues + 1) * s.plane)]


def assign_and_apply(s: Scene) -> list[Phase]:
    """Masks and spectrum in, mask and the vocals' spectrum out."""
    return [Phase(bytes=(s.cues + 5) * s.plane)]


def confidence(s: Scene) -> list[Phase]:
    """The loudest bins by one read; a sector of 32 bytes for each of their values; 1000 points of them."""
    pairs = s.batch * min(1000, s.loudest) ** 2
    gathered = 32 * s.batch * s.loudest * s.cues
    return [Phase(bytes=s.plane), Phase(bytes=gathered), Phase(float32=pairs * (3 * s.cues + 4))]


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
