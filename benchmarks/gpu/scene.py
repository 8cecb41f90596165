"""One batch of music and the inputs of all stages of the pipeline, computed on first use."""

from __future__ import annotations

from functools import cached_property, lru_cache

import torch
from torch import Tensor

import torchprim as tp
from benchmarks.sound import synthetic_batch
from torchprim.kernels.dispatch import plain_torch
from torchprim.kernels.salience.banded_product import Banded, banded_product
from torchprim.kernels.salience.salience_inputs import salience_inputs
from torchprim.kernels.spatial.side_to_mid import side_to_mid
from torchprim.primitives.pitch import salience
from torchprim.primitives.pitch.grid import PitchGrid
from torchprim.primitives.pitch.harmonic_comb import comb_table
from torchprim.primitives.pitch.tracking import COMB_WIDTH, SHARPNESS


class Scene:
    """Inputs of all stages for one preset and size, by references: a broken kernel spoils its own row.

    Args:
        preset: name of an ensemble.
        batch: mixtures.
        seconds: length of each.
        device: of all tensors.
    """

    def __init__(self, preset: str, batch: int, seconds: float, device: str) -> None:
        self.separator = tp.PrimitiveSeparator(preset).to(device)
        self.preset, self.device = self.separator.preset, device
        self.geometry = self.preset.geometry
        self.batch, self.rate = batch, round(self.geometry.sample_rate)
        self.samples = round(seconds * self.rate)
        self.frames, self.bins = self.geometry.frames(self.samples), self.geometry.bins
        self.grid = PitchGrid(self.bins, self.geometry.bin_width)
        self.pitches, self.heard = self.grid.pitches, self.grid.comb_bins  # bins below 8 kHz
        self.cues = len(self.separator.cues.names)
        self.seconds = seconds
        # Of peaks of the 2-D transform; smaller than the preset's where the clip is short.
        self.neighbourhood = (1, min(self.preset.neighbourhood[1], self.frames - (self.frames + 1) % 2))
        self.generator = torch.Generator(device)  # of the silhouette's points

    @property
    def mask_bytes(self) -> int:
        """Bytes of a float32 mask of the batch."""
        return 4 * self.batch * self.bins * self.frames

    @property
    def audio_bytes(self) -> int:
        """Bytes of the batch's audio."""
        return 4 * self.batch * self.samples

    @property
    def loudest(self) -> int:
        """Number of bins of an item in the loudest 1 %."""
        return -(-self.bins * self.frames // 100)

    @cached_property
    def audio(self) -> Tensor:
        return synthetic_batch(self.batch, self.seconds, self.rate, device=self.device)

    @cached_property
    def mixture(self) -> tp.Mixture:
        return tp.Mixture(self.audio, self.rate, self.geometry)

    @cached_property
    def spectrum(self) -> Tensor:
        return self.mixture.spectrum()

    @cached_property
    def stereo_spectrum(self) -> Tensor:
        """Two channels, `(B, 2, F, N)`: the second has, more softly, what the first had three frames ago."""
        audio = torch.stack([self.audio, 0.5 * self.audio.roll(3 * self.geometry.hop_length, -1)], 1)
        return tp.stft(audio, self.geometry)

    @cached_property
    def position_and_level(self) -> tuple[Tensor, Tensor]:
        with plain_torch():
            return side_to_mid(self.stereo_spectrum)

    @cached_property
    def magnitude(self) -> Tensor:
        return self.mixture.magnitude()

    @cached_property
    def windowed(self) -> Tensor:
        """Frames of the inverse transform, `(B, N, W)`."""
        return torch.fft.irfft(self.spectrum.mT, n=self.geometry.window_length, norm="forward")

    @property
    def long_geometry(self) -> tp.Geometry:
        """Grid of the long window."""
        settings = self.separator.cues["melody"].weight.primitive.settings
        return tp.Geometry(self.rate, settings["window_length"], settings["hop_length"], self.geometry.window)

    @cached_property
    def long_spectrum(self) -> Tensor:
        return tp.stft(self.audio, self.long_geometry)

    @cached_property
    def long_mask(self) -> Tensor:
        """Stand-in for the harmonic mask of the long window."""
        magnitude = self.long_spectrum.abs().contiguous()
        return magnitude / (magnitude + 1)

    @cached_property
    def plane_spectrum(self) -> Tensor:
        """The half plane of the 2-D transform, without the last of an odd number of bins."""
        return torch.fft.rfft2(self.magnitude[..., : self.bins - self.bins % 2, :].contiguous())

    @cached_property
    def background(self) -> Tensor:
        """Stand-in for the repeating background: half of the magnitude, shifted by some frames."""
        return 0.5 * self.magnitude.roll(3, -1).contiguous()

    @cached_property
    def gain(self) -> Tensor:
        """Gain of a high-pass, `(F,)`."""
        return torch.linspace(0, 1, self.bins, device=self.device)

    @cached_property
    def masks(self) -> tuple[Tensor, ...]:
        with torch.no_grad(), plain_torch():
            return tuple(self.separator.cue_masks(self.mixture).values())

    @cached_property
    def moving(self) -> Tensor:
        """Mask of the long-window HPSS without a cut: the weight of the melody."""
        with torch.no_grad(), plain_torch():
            return self.separator.cues["melody"].weight.full_band(self.mixture)

    @cached_property
    def scale(self) -> Tensor:
        """Reciprocal of the loudest bin of each item."""
        return self.magnitude.amax((-2, -1)).reciprocal()

    @property
    def heard_magnitude(self) -> Tensor:
        """Magnitude below 8 kHz, a view."""
        return self.magnitude[..., : self.heard, :]

    @property
    def loudness(self) -> Tensor:
        return salience.bin_a_weighting(self.heard, self.geometry.bin_width, self.magnitude)

    @property
    def summation(self) -> Banded:
        return salience.summation(self.grid, self.magnitude)

    @property
    def inhibition(self) -> Banded:
        return salience.inhibition(self.grid, self.magnitude)

    @property
    def axis(self) -> tuple[float, int, int]:
        """Bin width over the lowest pitch, number of bins with peaks, length of the logarithmic axis."""
        return self.grid.bin_width / self.grid.f_min, self.grid.peak_bins, self.summation.depth

    @cached_property
    def axis_and_level(self) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), plain_torch():
            weight = self.moving[..., : self.heard, :]
            return salience_inputs(self.heard_magnitude, self.loudness, weight, *self.axis, self.scale)

    @cached_property
    def total(self) -> Tensor:
        """The harmonic sum."""
        with torch.no_grad(), plain_torch():
            return banded_product(self.summation, self.axis_and_level[0])

    @cached_property
    def combs(self) -> Tensor:
        """The product with combs that inhibit."""
        with torch.no_grad(), plain_torch():
            return banded_product(self.inhibition, self.axis_and_level[1])

    @cached_property
    def emission(self) -> Tensor:
        with torch.no_grad(), plain_torch():
            return salience.log_salience(self.magnitude, self.grid, self.moving, SHARPNESS, self.scale)

    @cached_property
    def path(self) -> Tensor:
        """Index of a pitch in each frame; costs do not depend on it."""
        return self.emission.argmax(-2)

    @property
    def teeth(self) -> Tensor:
        return salience.inhibiting_combs(self.grid, self.magnitude)

    @property
    def comb_table(self) -> Tensor:
        """Combs of all candidate pitches, `(F, P)`."""
        return comb_table(self.grid, COMB_WIDTH, self.magnitude)

    @cached_property
    def height(self) -> Tensor:
        return self.moving.mean(-2)

    @cached_property
    def index(self) -> Tensor:
        """Flat indices of the loudest bins of each item."""
        return self.magnitude.flatten(-2).topk(self.loudest).indices

    @cached_property
    def points(self) -> Tensor:
        """Embedding of the loudest bins, `(B, P, D)`."""
        return torch.stack([mask.flatten(-2).gather(-1, self.index) for mask in self.masks], -1)

    @cached_property
    def clusters(self) -> Tensor:
        return (self.points.mean(-1) > 0.5).long()


@lru_cache(maxsize=1)  # memory holds but one
def scene(preset: str, batch: int, seconds: float, device: str) -> Scene:
    """Return the scene of these settings; the last one is cached."""
    return Scene(preset, batch, seconds, device)
