"""One batch of music and everything that the stages of the pipeline read, made on first use."""

from __future__ import annotations

from functools import cached_property, lru_cache

import torch
from torch import Tensor

import torchprim as tp
from benchmarks.gpu.music import music
from torchprim.kernels.dispatch import plain_torch
from torchprim.kernels.salience.banded_product import Banded, banded_product
from torchprim.kernels.salience.salience_inputs import salience_inputs
from torchprim.primitives.pitch import salience
from torchprim.primitives.pitch.grid import PitchGrid
from torchprim.primitives.pitch.tracking import SHARPNESS


class Scene:
    """Inputs of every stage for one preset and size, by references: a broken kernel spoils its own row.

    Args:
        preset: name of an ensemble.
        batch: mixtures.
        seconds: length of each.
        device: where they are.
    """

    def __init__(self, preset: str, batch: int, seconds: float, device: str) -> None:
        self.separator = tp.PrimitiveSeparator(preset).to(device)
        self.preset, self.device = self.separator.preset, device
        self.geometry = self.preset.geometry
        self.batch, self.rate = batch, round(self.geometry.sample_rate)
        self.samples = round(seconds * self.rate)
        self.frames, self.bins = self.geometry.frames(self.samples), self.geometry.bins
        self.grid = PitchGrid(self.bins, self.geometry.bin_width)
        self.pitches, self.heard = self.grid.pitches, self.grid.comb_bins  # bins that the melody reads
        self.cues = len(self.separator.cues.names)
        self.seconds = seconds
        # A neighbourhood of the 2-D transform, where the clip is too short for the preset's.
        self.fitting = (1, min(self.preset.neighbourhood[1], self.frames - (self.frames + 1) % 2))
        self.generator = torch.Generator(device)  # of the points that the silhouette draws

    @property
    def plane(self) -> int:
        """Bytes of a float32 mask of the batch."""
        return 4 * self.batch * self.bins * self.frames

    @property
    def sound(self) -> int:
        """Bytes of the batch's audio."""
        return 4 * self.batch * self.samples

    @property
    def loudest(self) -> int:
        """Bins of an item that the confidence looks at."""
        return -(-self.bins * self.frames // 100)

    @cached_property
    def audio(self) -> Tensor:
        return music(self.batch, self.seconds, self.rate, device=self.device)

    @cached_property
    def mixture(self) -> tp.Mixture:
        return tp.Mixture(self.audio, self.rate, self.geometry)

    @cached_property
    def spectrum(self) -> Tensor:
        return self.mixture.spectrum()

    @cached_property
    def magnitude(self) -> Tensor:
        return self.mixture.magnitude()

    @cached_property
    def plane_spectrum(self) -> Tensor:
        """The half plane of the 2-D transform."""
        return torch.fft.rfft2(self.magnitude.contiguous())

    @cached_property
    def background(self) -> Tensor:
        """What repeats, as far as costs go: half of the magnitude, shifted by some frames."""
        return 0.5 * self.magnitude.roll(3, -1).contiguous()

    @cached_property
    def gain(self) -> Tensor:
        """A high-pass, `(F,)`."""
        return torch.linspace(0, 1, self.bins, device=self.device)

    @cached_property
    def masks(self) -> tuple[Tensor, ...]:
        with torch.no_grad(), plain_torch():
            return tuple(self.separator.cue_masks(self.mixture).values())

    @cached_property
    def moving(self) -> Tensor:
        """The long window's mask without a cut: what weights the melody."""
        with torch.no_grad(), plain_torch():
            return self.separator.cues["melody"].weight.full_band(self.mixture)

    @cached_property
    def relative(self) -> Tensor:
        """Magnitude below 8 kHz, the loudest bin of each item 1."""
        return self.magnitude[..., : self.heard, :] / self.magnitude.amax((-2, -1), keepdim=True)

    @property
    def loudness(self) -> Tensor:
        return salience.bin_a_weighting(self.heard, self.geometry.bin_width, self.relative)

    @property
    def summation(self) -> Banded:
        return salience.summation(self.grid, self.relative)

    @property
    def inhibition(self) -> Banded:
        return salience.inhibition(self.grid, self.relative)

    @property
    def axis(self) -> tuple[float, int, int]:
        """Distance of bins over the lowest pitch, bins that have peaks, places of the axis."""
        return self.grid.bin_width / self.grid.f_min, self.grid.peak_bins, self.summation.depth

    @cached_property
    def axis_and_level(self) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), plain_torch():
            return salience_inputs(
                self.relative, self.loudness, self.moving[..., : self.heard, :], *self.axis
            )

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
            return salience.log_salience(self.relative, self.grid, self.moving, SHARPNESS)

    @cached_property
    def path(self) -> Tensor:
        """A pitch in each frame; which one matters to no cost."""
        return self.emission.argmax(-2)

    @cached_property
    def f0(self) -> Tensor:
        return self.grid.frequencies(self.magnitude)[self.path]

    @property
    def teeth(self) -> Tensor:
        return salience.inhibiting_combs(self.grid, self.relative).t().contiguous()

    @cached_property
    def comb(self) -> Tensor:
        """A mask, as voicing reads it."""
        return self.moving.clone()

    @cached_property
    def height(self) -> Tensor:
        return self.moving.mean(-2)

    @cached_property
    def index(self) -> Tensor:
        """The loudest bins of each item, in a row of all bins."""
        return self.magnitude.flatten(-2).topk(self.loudest).indices

    @cached_property
    def points(self) -> Tensor:
        """Embedding of the loudest bins, `(B, P, D)`."""
        return torch.stack([mask.flatten(-2).gather(-1, self.index) for mask in self.masks], -1)

    @cached_property
    def clusters(self) -> Tensor:
        return (self.points.mean(-1) > 0.5).long()


@lru_cache(maxsize=1)  # memory holds one
def scene(preset: str, batch: int, seconds: float, device: str) -> Scene:
    """The scene of these settings; kept until others are asked for."""
    return Scene(preset, batch, seconds, device)
