"""One batch of music and everything that the stages of the pipeline read, made on first use."""

from __future__ import annotations

from functools import cached_property, lru_cache

import torch
from torch import Tensor

import torchprim as tp
from benchmarks.gpu.music import music
from torchprim.kernels.dispatch import plain_torch
from torchprim.salience import comb_bins, pitch_grid, salience
from torchprim.tracking import SHARPNESS

F_MIN, F_MAX = 80.0, 1100.0  # of the melody


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
        self.pitches = len(pitch_grid(F_MIN, F_MAX))
        self.heard = comb_bins(self.bins, self.geometry.bin_width)  # bins that the melody reads
        self.cues = len(self.separator.cues.names)
        self.seconds = seconds
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
    def relative(self) -> Tensor:
        """Magnitude, the loudest bin of each item 1."""
        return self.magnitude / self.magnitude.amax((-2, -1), keepdim=True)

    @cached_property
    def level(self) -> Tensor:
        """Half plane of the 2-D transform, scaled to a maximum of 1."""
        level = torch.fft.rfft2(self.magnitude, dim=(-1, -2)).abs()
        return level / level.amax((-2, -1), keepdim=True)

    @cached_property
    def masks(self) -> tuple[Tensor, ...]:
        with torch.no_grad(), plain_torch():
            return tuple(self.separator.cue_masks(self.mixture).values())

    @cached_property
    def moving(self) -> Tensor:
        """The long window's mask without a cut: what weights the melody."""
        with torch.no_grad(), plain_torch():
            return self.separator.cues._long_hpss(self.mixture)

    @cached_property
    def emission(self) -> Tensor:
        with torch.no_grad(), plain_torch():
            found = salience(self.relative, self.geometry.bin_width, F_MIN, F_MAX, self.moving)
        return SHARPNESS * found.log()

    @cached_property
    def f0(self) -> Tensor:
        """A pitch in each frame; which one matters to no cost."""
        return pitch_grid(F_MIN, F_MAX, self.magnitude)[self.emission.argmax(-2)]

    @cached_property
    def height(self) -> Tensor:
        return self.moving.mean(-2)

    @cached_property
    def points(self) -> Tensor:
        """Embedding of the loudest bins, `(B, P, D)`."""
        index = self.magnitude.flatten(-2).topk(self.loudest).indices
        return torch.stack([mask.flatten(-2).gather(-1, index) for mask in self.masks], -1)

    @cached_property
    def clusters(self) -> Tensor:
        return (self.points.mean(-1) > 0.5).long()


@lru_cache(maxsize=1)  # memory holds one
def scene(preset: str, batch: int, seconds: float, device: str) -> Scene:
    """The scene of these settings; kept until others are asked for."""
    return Scene(preset, batch, seconds, device)
