"""Base of the separators: sample rates, channels and long recordings, given an estimate of the mask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from torchprim import checks
from torchprim.audio.downmix import downmix
from torchprim.audio.resampling import check_rates, resample
from torchprim.primitives.spatial import spatial
from torchprim.separators.pieces import Piece, split
from torchprim.separators.piecewise import Estimate, Separated, separate_pieces, stream_pieces
from torchprim.separators.separation import Separation, StemSeparation
from torchprim.sources import TWO
from torchprim.spectra.mixture import Mixture
from torchprim.spectra.stft import Geometry, masked_istft

# What a separator returns.
Result = TypeVar("Result", Separation, StemSeparation)
PIECE_SECONDS = 30.0
OVERLAP_SECONDS = 2.0
_ROUNDING = 1e-6  # relative peak below which a signal is constant but for rounding


class BaseSeparator(nn.Module, ABC, Generic[Result]):
    """Base of all separators, of two stems or more; a subclass estimates the mask, and makes its result.

    Args:
        geometry: STFT grid of the masks; audio at another rate is resampled.
        spatial: strength of the spatial cue, which refines the estimated mask of two channels; 0 for none.

    Raises:
        ValueError: for a strength that is negative or not finite.
    """

    sources: tuple[str, ...]  # names of the stems

    def __init__(self, geometry: Geometry, spatial: float = 0.0) -> None:
        super().__init__()
        self.geometry = geometry
        self.spatial: float = checks.not_negative(spatial, "spatial")

    @property
    @abstractmethod
    def identity(self) -> str:
        """Cache key of the masks of a recording: a digest of everything else that they depend on."""

    @abstractmethod
    def estimate(self, mixture: Mixture, generator: torch.Generator | None = None) -> Estimate:
        """Estimate the mask of a mixture, 0 where the mixture is silent, and its confidence.

        Args:
            mixture: on the separator's grid.
            generator: for the bins sampled by the silhouette; the global one by default.
        """

    def _hop_length(self, sample_rate: float) -> float:
        """Return the hop of the grid in samples of the audio."""
        return self.geometry.hop_length * sample_rate / self.geometry.sample_rate

    def _pieces(self, length: int, sample_rate: float) -> list[Piece]:
        """Split a recording into pieces that start at whole frames, so that their masks lie on one grid.

        Raises:
            ValueError: for a rate from which nothing can be resampled to the grid's.
        """
        check_rates(sample_rate, self.geometry.sample_rate, "sample_rate")
        piece_length, overlap = round(PIECE_SECONDS * sample_rate), round(OVERLAP_SECONDS * sample_rate)
        return split(length, piece_length, overlap, self._hop_length(sample_rate))

    def _separate_piece(
        self,
        audio: Tensor,
        sample_rate: float,
        channels: bool,
        generator: torch.Generator | None,
        keep_masks: bool,
        settings: dict[str, Any],
    ) -> tuple[Tensor, Estimate]:
        """Compute the vocals, or the stems but the rest, of one piece, and the estimate behind them."""
        geometry = self.geometry
        given = _remove_mean(audio) if channels else None
        mixture = Mixture(_remove_mean(downmix(audio) if channels else audio), sample_rate, geometry, given)
        del given
        estimate = self.estimate(mixture, generator, **settings)
        if not keep_masks:
            estimate = estimate._replace(masks={})
        length = mixture.audio.shape[-1]
        mixture.keep_spectra()  # not what was computed for the cues: the peak of memory is here
        spectrum = mixture.channel_spectrum()
        if spectrum is None:
            spectrum = mixture.spectrum()
        elif audio.shape[-2] == 2 and self.spatial > 0:
            mask = spatial(spectrum, estimate.mask, self.spatial, sample_rate=geometry.sample_rate)
            estimate = estimate._replace(mask=mask)
        del mixture
        vocals = self._synthesise(estimate.mask, spectrum, length)
        vocals = resample(vocals, geometry.sample_rate, sample_rate)[..., : audio.shape[-1]]
        padding = audio.shape[-1] - vocals.shape[-1]  # resampling by a rounded ratio may fall short
        vocals = torch.nn.functional.pad(vocals, (0, padding)) if padding else vocals
        return vocals, estimate

    def _synthesise(self, mask: Tensor, spectrum: Tensor, length: int) -> Tensor:
        """Compute the masked audio at the grid's rate, `(..., length)`; of S stems `(S, ..., length)`."""
        return masked_istft(mask, spectrum, self.geometry, length)

    @abstractmethod
    def _result(self, done: Separated) -> Result:
        """Make the result of what was separated, with the stems by name."""

    def forward(
        self,
        audio: checks.Audio,
        sample_rate: float,
        channels: bool = False,
        *,
        generator: torch.Generator | None = None,
        keep_masks: bool | None = None,
        progress: Callable[[int, int], None] | None = None,
        **settings: Any,
    ) -> Result:
        """Separate a batch of recordings of one length.

        Recordings over 30 s are separated in overlapping pieces of 30 s, which are cross-faded, so that
        memory grows by the stems alone, and in `stream` not at all. Their confidence is the mean over pieces,
        weighted by duration.

        Args:
            audio: `(..., T)`, or `(..., C, T)` with `channels`; on any device. An array of NumPy is copied.
            sample_rate: in Hz; audio at another rate than the grid's is resampled, and the vocals back.
            channels: whether the last but one dimension is channels: one mask, estimated from their mean
                (from the loudest where they cancel in it, see `downmix`), is applied to all. Of two
                channels the spatial cue refines it first.
            generator: for the bins sampled by the silhouette; by default one seeded with 0, so that
                results are reproducible. Under `torch.compile` leave it out: the global one is used.
            keep_masks: whether to return `mask` and `masks`; by default up to 30 s.
            progress: called with (pieces done, number of pieces) after each piece.
            settings: passed to `estimate`, such as `weights` and `beta` of a `PrimitiveSeparator`, or
                `centres` of a `StemSeparator`.

        Returns:
            A `Separation`, of other stems a `StemSeparation`; the stems add up to the input.

        Raises:
            ValueError: for audio that is complex, empty, not finite or beyond 1e30, or of more channels (or
                items) than samples, or a rate that is not positive.
        """
        checks.number(channels, "channels")  # a truth value; a tensor has none, or another one
        audio = checks.recording(audio, rank=2 if channels else 1)
        sample_rate = checks.rate(sample_rate, "sample_rate")
        checks.holds_values(audio, "audio")
        # A compiled graph supports no generator but the global one.
        if generator is None and not torch.compiler.is_compiling():
            generator = torch.Generator(audio.device).manual_seed(0)
        pieces = self._pieces(audio.shape[-1], sample_rate)
        keep_masks = len(pieces) == 1 if keep_masks is None else keep_masks

        def separate(excerpt: Tensor) -> tuple[Tensor, Estimate]:
            return self._separate_piece(excerpt, sample_rate, channels, generator, keep_masks, settings)

        hop_length = self._hop_length(sample_rate) if keep_masks else None
        return self._result(separate_pieces(separate, audio, sample_rate, pieces, hop_length, progress))

    def stream(
        self,
        read: Callable[[int, int], Tensor],
        length: int,
        sample_rate: float,
        channels: bool = False,
        *,
        generator: torch.Generator | None = None,
        progress: Callable[[int, int], None] | None = None,
        **settings: Any,
    ) -> Iterator[Result]:
        """Separate a recording that is too long for memory: yield its stems in stretches, one after another.

        Joined, the stretches are the stems of `forward`: the same pieces, each read, separated and
        cross-faded with the one before. Memory does not grow with the length.

        Args:
            read: returns samples `start` to `stop` of the recording, `(..., stop - start)`.
            length: number of samples of the recording.
            sample_rate, channels, generator, progress, settings: as for `forward`.

        Yields:
            A result as `forward` returns for each piece, without masks. Its confidence is the mean over the
            pieces so far, weighted by duration: that of the last one is the recording's.

        Raises:
            ValueError: as `forward`.

        Example:
            >>> import torch, torchprim as tp
            >>> song = torch.randn(2, 441000)
            >>> separator = tp.PrimitiveSeparator("best", "hpss")
            >>> parts = list(separator.stream(lambda a, b: song[:, a:b], 441000, 44100, channels=True))
            >>> len(parts), torch.cat([part.vocals for part in parts], -1).shape
            (1, torch.Size([2, 441000]))
        """
        checks.integer(length, "length", 1)
        sample_rate = checks.rate(sample_rate, "sample_rate")

        def separate(audio: Tensor) -> tuple[Tensor, Estimate]:
            nonlocal generator
            if generator is None:
                generator = torch.Generator(audio.device).manual_seed(0)
            return self._separate_piece(audio, sample_rate, channels, generator, False, settings)

        def checked(start: int, stop: int) -> Tensor:
            return checks.recording(read(start, stop), rank=2 if channels else 1)

        pieces = self._pieces(length, sample_rate)
        for part in stream_pieces(separate, checked, sample_rate, pieces, progress):
            result = self._result(part)
            del part  # not to be held beside the next piece
            yield result
            del result

    if TYPE_CHECKING:

        def __call__(
            self,
            audio: checks.Audio,
            sample_rate: float,
            channels: bool = False,
            *,
            generator: torch.Generator | None = None,
            keep_masks: bool | None = None,
            progress: Callable[[int, int], None] | None = None,
            **settings: Any,
        ) -> Result: ...


class Separator(BaseSeparator[Separation]):
    """Base of the separators of vocals and accompaniment, from audio to both; a subclass estimates the mask.

    Args:
        geometry, spatial: as for `BaseSeparator`.
    """

    sources: tuple[str, ...] = TWO

    def _result(self, done: Separated) -> Separation:
        mask, masks, _ = (None, {}, None) if done.estimate is None else done.estimate
        accompaniment = done.audio - done.stems
        return Separation(done.stems, accompaniment, mask, *done.confidence, masks, done.sample_rate)


def _remove_mean(audio: Tensor) -> Tensor:
    """Subtract the mean over time; a constant becomes exactly 0, silence, without rounding errors."""
    mean = audio.mean(-1, keepdim=True)
    with torch.no_grad():
        low, high = torch.aminmax(audio.detach(), dim=-1, keepdim=True)
        # Subtraction keeps order: the extremes less the mean are those of the audio less the mean.
        centred_peak = torch.maximum(high - mean, mean - low)
        sounding = centred_peak > _ROUNDING * torch.maximum(high, -low)
    # One pass over the audio: times 1 it is the difference, exactly.
    sounding = sounding.to(audio.dtype)
    return torch.addcmul(-mean * sounding, audio, sounding)
