"""Roofline floors: the least bytes and operations of each stage, from its sizes.

Bytes are read once and written once in each phase; a phase ends where every output depends on every input (a
transform along an axis, a maximum over an item), so that nothing can stay on the chip. A float32 mask of the
batch has `mask_bytes`, a complex spectrum twice as many.
"""

from __future__ import annotations

from functools import lru_cache

from torch import nn

from benchmarks.gpu.ceilings import Phase
from benchmarks.gpu.scene import Scene
from torchprim.kernels.hpss.selection_network import selection_network
from torchprim.kernels.salience.banded_product import Banded


def extrema_of_median(window: int) -> float:
    """Count minima and maxima per output of a running median; windows of a tile share their common part."""
    networks = (
        (tile, selection_network(window, window // 2, tile)) for tile in (1, 2, 4, 8) if tile <= window
    )
    return min(len(network.steps) / tile for tile, network in networks)


def stft(s: Scene) -> list[Phase]:
    """Audio -> spectrum and magnitude."""
    return [Phase(bytes=s.audio_bytes + 3 * s.mask_bytes)]


def magnitude(s: Scene) -> list[Phase]:
    """A complex spectrum in; the maximum of every 8 frames, too."""
    return [Phase(bytes=(3 + 1 / 8) * s.mask_bytes)]


def side_to_mid(s: Scene) -> list[Phase]:
    """Two complex spectra in, position and level out."""
    return [Phase(bytes=6 * s.mask_bytes)]


def position_histograms(s: Scene) -> list[Phase]:
    """Position, level and mask in."""
    return [Phase(bytes=3 * s.mask_bytes)]


def spatial(s: Scene) -> list[Phase]:
    """Spectra and mask in, for the histograms; position and mask again, a mask out."""
    return [Phase(bytes=5 * s.mask_bytes), Phase(bytes=3 * s.mask_bytes)]


def median(s: Scene) -> list[Phase]:
    per_output = extrema_of_median(s.preset.kernel_size)
    return [Phase(bytes=2 * s.mask_bytes, extrema=per_output * s.mask_bytes / 4)]


def hpss(s: Scene) -> list[Phase]:
    """Both medians from one read."""
    per_output = 2 * extrema_of_median(s.preset.kernel_size)
    return [Phase(bytes=2 * s.mask_bytes, extrema=per_output * s.mask_bytes / 4)]


def ft2d_transforms(s: Scene) -> list[Phase]:
    """Each way one real plane and one half of a complex one, as large."""
    return [Phase(bytes=2 * s.mask_bytes)] * 2


def peaks(s: Scene) -> list[Phase]:
    """Half a complex plane in and out, each as large as a mask."""
    return [Phase(bytes=2 * s.mask_bytes)]


def ft2d_masks(s: Scene) -> list[Phase]:
    """Magnitude and background in, for the maxima of the ratios; both again, two masks out."""
    return [Phase(bytes=2 * s.mask_bytes), Phase(bytes=4 * s.mask_bytes)]


def ft2d(s: Scene) -> list[Phase]:
    """Transform; peaks; inverse transform; both masks."""
    return [*ft2d_transforms(s), *peaks(s), *ft2d_masks(s)]


def long_hpss(s: Scene) -> list[Phase]:
    """Long STFT; medians of 17 and mask; inverse; short STFT; ratio against the mixture's spectrum."""
    per_output = 2 * extrema_of_median(17)
    return [
        Phase(bytes=s.audio_bytes + 2 * s.mask_bytes),
        Phase(bytes=4 * s.mask_bytes, extrema=per_output * s.mask_bytes / 4),
        Phase(bytes=2 * s.mask_bytes + s.audio_bytes),
        Phase(bytes=s.audio_bytes + 2 * s.mask_bytes),
        Phase(bytes=5 * s.mask_bytes),
    ]


def _salience_bytes(s: Scene) -> int:
    """Bytes of a plane of pitches and frames."""
    return 4 * s.batch * s.pitches * s.frames


def _low_mask_bytes(s: Scene) -> int:
    """Bytes of a mask below 8 kHz."""
    return s.mask_bytes * s.heard // s.bins


def _peak_bytes(s: Scene) -> int:
    """Bytes of the peaks on the logarithmic axis."""
    return 4 * s.batch * s.summation.depth * s.frames


def salience_inputs(s: Scene) -> list[Phase]:
    """Magnitude and weight in, levels and peaks on a logarithmic axis out."""
    return [Phase(bytes=3 * _low_mask_bytes(s) + _peak_bytes(s))]


@lru_cache(maxsize=8)
def _nonzeros(matrix: Banded) -> int:
    """Count the entries of a matrix above rounding."""
    return int((matrix.parts.sum(0).abs() > 1e-7).count_nonzero())


def _product(s: Scene, matrix: Banded, read: int) -> Phase:
    operations = 2 * _nonzeros(matrix) * s.frames * s.batch
    return Phase(bytes=read + _salience_bytes(s), float32=operations)


def product(s: Scene) -> list[Phase]:
    """Levels in, one salience out; zeros of the matrix cost nothing."""
    return [_product(s, s.inhibition, _low_mask_bytes(s))]


def row_median(s: Scene) -> list[Phase]:
    return [Phase(bytes=_salience_bytes(s))]


def salience_mix(s: Scene) -> list[Phase]:
    """Both in, for the means of the frames' maxima; both again, one out."""
    return [Phase(bytes=2 * _salience_bytes(s)), Phase(bytes=3 * _salience_bytes(s))]


def salience(s: Scene) -> list[Phase]:
    """All four steps; medians and maxima are fused with the products before them."""
    products = [_product(s, s.summation, _peak_bytes(s)), *product(s)]
    return [*salience_inputs(s), *products, *salience_mix(s)]


def viterbi(s: Scene) -> list[Phase]:
    """Emissions in, int16 back-pointers out; each frame depends on the one before."""
    return [Phase(bytes=1.5 * _salience_bytes(s), steps=s.frames)]


def forward_backward(s: Scene) -> list[Phase]:
    """Forward, writing its messages; backward, multiplying them in."""
    return [
        Phase(bytes=2 * _salience_bytes(s), steps=s.frames),
        Phase(bytes=3 * _salience_bytes(s), steps=s.frames),
    ]


def comb_mask(s: Scene) -> list[Phase]:
    """The mask, where the magnitude is not 0; the table of combs stays on the chip."""
    return [Phase(bytes=2 * s.mask_bytes)]


def voicing(s: Scene) -> list[Phase]:
    """Magnitude and weight below 8 kHz, summed over bins under combs from a table."""
    return [Phase(bytes=2 * _low_mask_bytes(s))]


def melody(s: Scene) -> list[Phase]:
    """The loudest bin, salience, path, voicing, and the mask."""
    loudest = Phase(bytes=s.mask_bytes)
    return [loudest, *salience(s), *viterbi(s), *voicing(s), *comb_mask(s)]


def soft_assignment(s: Scene) -> list[Phase]:
    """Masks and magnitude in, the mask out."""
    return [Phase(bytes=(s.cues + 2) * s.mask_bytes)]


def loudest(s: Scene) -> list[Phase]:
    """One read for the threshold, another for the indices above it."""
    return [Phase(bytes=s.mask_bytes), Phase(bytes=s.mask_bytes)]


def values(s: Scene) -> list[Phase]:
    """A memory sector of 32 bytes per value."""
    return [Phase(bytes=32 * s.batch * s.loudest * s.cues)]


def confidence(s: Scene) -> list[Phase]:
    """The loudest bins, their masks, and the pairwise distances of 1000 of them."""
    pairs = s.batch * min(1000, s.loudest) ** 2
    return [*loudest(s), *values(s), Phase(float32=pairs * (3 * s.cues + 4))]


def silhouette(s: Scene) -> list[Phase]:
    """All pairs of the loudest 1 %: a difference, a square and a sum per dimension, and a root."""
    return [Phase(bytes=8 * s.batch * s.loudest * s.cues, float32=s.batch * s.loudest**2 * (3 * s.cues + 4))]


def istft(s: Scene) -> list[Phase]:
    """Mask and spectrum in, vocals out; the accompaniment is the mixture less the vocals."""
    return [Phase(bytes=3 * s.mask_bytes + s.audio_bytes), Phase(bytes=3 * s.audio_bytes)]


def wiener_masks(s: Scene) -> list[Phase]:
    """Two complex spectra in."""
    return [Phase(bytes=5 * s.mask_bytes)]


def masked_frames(s: Scene) -> list[Phase]:
    """Mask and spectrum in, the packed spectrum out; its transform. A spectrum is twice a mask."""
    return [Phase(bytes=5 * s.mask_bytes), Phase(bytes=4 * s.mask_bytes)]


def residual_frames(s: Scene) -> list[Phase]:
    """Transform, too, what the mask of the long window leaves."""
    mask = 4 * s.long_spectrum.numel()
    return [Phase(bytes=5 * mask), Phase(bytes=4 * mask)]


def overlap_add(s: Scene) -> list[Phase]:
    """Frames in and audio out, or the reverse."""
    frames = 4 * s.batch * s.frames * s.geometry.window_length
    return [Phase(bytes=frames + s.audio_bytes)]


def grams(items: int, points: int, dimensions: int) -> list[Phase]:
    """Gram matrices from one read of a bf16 output, boolean labels and weights."""
    read = items * points * (2 * dimensions + 5)
    return [Phase(bytes=read, float32=2 * items * points * dimensions * (dimensions + 2))]


def training_step(network: nn.Module, items: int, bins: int, frames: int) -> list[Phase]:
    """A step of a recurrent network: matrix products of forward and backward, and traffic of the output.

    A weight matrix is used three times a frame: forward, and for the gradients of its input and of itself.
    """
    weights = sum(p.numel() for p in network.parameters() if p.dim() == 2)
    outputs = 2 * items * frames * bins * network.config.dimensions  # bytes of bf16
    products = Phase(bfloat16=6 * weights * items * frames)
    # Written, read by the loss and by its backward; the gradient is written, and read for both products.
    return [products, Phase(bytes=6 * outputs)]
