"""Audio in, stems out, for whatever makes a mask: pieces of long recordings, rates, channels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from torchprim import checks
from torchprim.audio.resampling import resample
from torchprim.ensemble.confidence import Confidence
from torchprim.separators.pieces import Piece, cut, on_frames
from torchprim.spectra.mixture import Mixture
from torchprim.spectra.stft import Geometry, istft, stft

PIECE_SECONDS = 30.0
OVERLAP_SECONDS = 2.0
# What is left of a constant after its mean is taken away, relative to the constant: rounding.
_ROUNDING = 1e-6


class Separation(NamedTuple):
    """Two stems, the mask that made them, and how far to trust it. Leading dimensions are the input's."""

    vocals: Tensor  # like the input, (..., T) or (..., C, T)
    accompaniment: Tensor  # mixture minus vocals
    mask: Tensor | None  # (..., F, N) on the separator's grid
    confidence: Tensor  # (...)
    silhouette: Tensor  # (...)
    posterior: Tensor  # (...)
    masks: dict[str, Tensor]  # each cue's mask by name


class Estimate(NamedTuple):
    """What a separator makes of one mixture on its grid."""

    mask: Tensor  # (..., F, N)
    masks: dict[str, Tensor]  # each cue's mask by name
    confidence: Confidence
    vocals: Tensor | None = None  # the mixture's spectrum times the mask, where it was made together with it


class Separator(nn.Module, ABC):
    """Base of all separators: from audio to stems, given the mask that a subclass estimates.

    Args:
        geometry: the STFT grid of the masks; audio at another rate is resampled.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry

    @property
    @abstractmethod
    def identity(self) -> str:
        """Cache key of the results: changes with everything that they depend on but the audio."""

    @abstractmethod
    def estimate(self, mixture: Mixture, generator: torch.Generator | None = None) -> Estimate:
        """Estimate the mask of a mixture, 0 where the mixture is silent, and its confidence."""

    def forward(
        self,
        audio: Tensor,
        sample_rate: float,
        channels: bool = False,
        *,
        generator: torch.Generator | None = None,
        keep_masks: bool | None = None,
        progress: Callable[[int, int], None] | None = None,
        **settings: Any,
    ) -> Separation:
        """Separate a batch of recordings of one length.

        Recordings over 30 s are separated in overlapping pieces of 30 s that fade into one another, so
        that memory grows by the samples alone; the confidence is then the mean over pieces, weighted by
        duration.

        Args:
            audio: `(..., T)`, or `(..., C, T)` with `channels`; on any device.
            sample_rate: in Hz. Another rate than the grid's is resampled, and the vocals back.
            channels: whether the last but one dimension is channels: masks are then made from their
                mean, and one mask serves all.
            generator: for the bins that the silhouette draws; by default one seeded with 0, so that
                results repeat. Under `torch.compile` leave it out: the global one is used.
            keep_masks: whether `mask` and `masks` are returned; by default for at most 30 s.
            progress: called with (pieces done, pieces in all) after each piece.
            settings: of `estimate`, such as `weights` and `beta` of a `PrimitiveSeparator`.

        Returns:
            A `Separation`; vocals and accompaniment add up to the input.

        Raises:
            ValueError: for audio that is complex, empty or not finite, or a rate that is not positive.
        """
        audio = checks.audio(audio, rank=2 if channels else 1)
        checks.positive(sample_rate, "sample_rate")
        # A compiled graph knows no generators but the global one.
        if generator is None and not torch.compiler.is_compiling():
            generator = torch.Generator(audio.device).manual_seed(0)
        pieces = self._pieces(audio.shape[-1], sample_rate)
        keep_masks = len(pieces) == 1 if keep_masks is None else keep_masks
        vocals = torch.zeros_like(audio)
        confidences, estimates = [], []
        for done, piece in enumerate(pieces, 1):
            excerpt = audio[..., piece.start : piece.stop]
            piece_vocals, estimate = self._separate(excerpt, sample_rate, channels, generator, settings)
            vocals[..., piece.begin : piece.end] += piece.faded(piece_vocals)
            confidences.append(estimate.confidence)
            if keep_masks:
                estimates.append(estimate)
            if progress is not None:
                progress(done, len(pieces))
        total = sum(piece.weight for piece in pieces)
        shares = [piece.weight / total for piece in pieces]  # plain numbers: nothing goes to the device
        overall = (
            sum(s * v for s, v in zip(shares, values, strict=True))
            for values in zip(*confidences, strict=True)
        )
        mask, masks = self._joined(estimates, pieces, sample_rate) if keep_masks else (None, {})
        return Separation(vocals, audio - vocals, mask, *overall, masks)

    if TYPE_CHECKING:

        def __call__(
            self,
            audio: Tensor,
            sample_rate: float,
            channels: bool = False,
            *,
            generator: torch.Generator | None = None,
            keep_masks: bool | None = None,
            progress: Callable[[int, int], None] | None = None,
            **settings: Any,
        ) -> Separation: ...

    def _pieces(self, length: int, sample_rate: float) -> list[Piece]:
        geometry = self.geometry
        # Pieces start at whole frames, so that their masks lie on one grid.
        hop = geometry.hop_length * sample_rate / geometry.sample_rate
        return cut(length, round(PIECE_SECONDS * sample_rate), round(OVERLAP_SECONDS * sample_rate), hop)

    def _separate(
        self, audio: Tensor, sample_rate: float, channels: bool, generator, settings: dict
    ) -> tuple[Tensor, Estimate]:
        """Separate one piece: vocals of the shape of `audio`, and the estimate that they were made of."""
        geometry = self.geometry
        mono = audio.mean(-2) if channels else audio
        mixture = Mixture(_without_mean(mono), sample_rate, geometry)
        estimate = self.estimate(mixture, generator, **settings)
        spectrum = estimate.vocals
        if channels:
            sound = resample(_without_mean(audio), sample_rate, geometry.sample_rate)
            spectrum = stft(sound, geometry) * estimate.mask.unsqueeze(-3)
        elif spectrum is None:
            spectrum = mixture.spectrum() * estimate.mask
        vocals = istft(spectrum, geometry, mixture.audio.shape[-1])
        vocals = resample(vocals, geometry.sample_rate, sample_rate)[..., : audio.shape[-1]]
        missing = audio.shape[-1] - vocals.shape[-1]  # a rounded ratio may be some samples short
        return torch.nn.functional.pad(vocals, (0, missing)), estimate._replace(vocals=None)

    def _joined(
        self, estimates: list[Estimate], pieces: list[Piece], sample_rate: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-fade the masks of all pieces, as the audio is."""
        if len(estimates) == 1:
            return estimates[0].mask, estimates[0].masks
        frame = self.geometry.hop_length * sample_rate / self.geometry.sample_rate
        frame_pieces = on_frames(pieces, frame, [estimate.mask.shape[-1] for estimate in estimates])

        def joined(masks: list[Tensor]) -> Tensor:
            whole = masks[0].new_zeros(*masks[0].shape[:-1], frame_pieces[-1].stop)
            for piece, mask in zip(frame_pieces, masks, strict=True):
                whole[..., piece.begin : piece.end] += piece.faded(mask)
            return whole

        names = estimates[0].masks
        cue_masks = {name: joined([estimate.masks[name] for estimate in estimates]) for name in names}
        return joined([estimate.mask for estimate in estimates]), cue_masks


def _without_mean(audio: Tensor) -> Tensor:
    """Zero-mean audio; exactly 0 where nothing but rounding is left, so that a constant is silence."""
    centred = audio - audio.mean(-1, keepdim=True)
    loudest = audio.detach().abs().amax(-1, keepdim=True)
    left = centred.detach().abs().amax(-1, keepdim=True)
    return torch.where(left > _ROUNDING * loudest, centred, 0)
