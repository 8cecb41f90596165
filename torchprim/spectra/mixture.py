"""A batch of mixtures with a cache of its spectra and masks, shared by the cues."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from torch import Tensor

from torchprim import checks
from torchprim.audio.resampling import resample
from torchprim.kernels.spectra.magnitude import magnitude, magnitude_and_maxima
from torchprim.spectra.stft import Geometry, find_geometry, stft

Value = TypeVar("Value")


class Mixture:
    """Batch of mono mixtures `(..., T)` with their spectra, computed on first use and cached.

    Nothing in the cache is ever recomputed: create a new `Mixture` whenever the audio or a cue's setting has
    changed. All items of a batch have the same length: zero padding would change medians and the 2DFT.

    Args:
        audio: `(..., T)`.
        sample_rate: in Hz.
        geometry: the STFT grid of the masks, the paper's by default; audio at another rate is resampled.
        channels: of which `audio` is the downmix, `(..., C, T)`, if there are any.

    Raises:
        ValueError: for audio that is complex, empty, not finite or beyond 1e30, a rate that is not positive,
            or channels that are not those of `audio` in shape, dtype and device.

    Example:
        >>> import torch, torchprim as tp
        >>> mixture = tp.Mixture(torch.randn(2, 44100), 44100)
        >>> mixture.magnitude().shape, mixture.magnitude() is mixture.magnitude()
        (torch.Size([2, 1025, 87]), True)
    """

    def __init__(
        self,
        audio: checks.Audio,
        sample_rate: float,
        geometry: Geometry | None = None,
        channels: checks.Audio | None = None,
    ) -> None:
        self.geometry: Geometry = find_geometry(geometry)
        audio = checks.recording(audio)
        self.audio: Tensor = resample(audio, sample_rate, self.geometry.sample_rate)
        self._given = None if channels is None else _checked_channels(channels, audio)
        self._sample_rate = sample_rate
        self._cache: dict[Hashable, Any] = {}

    @property
    def channels(self) -> Tensor | None:
        """The channels `(..., C, T)` at the rate of the grid, resampled on first use; None where unknown."""
        if self._given is None:
            return None
        given, rate = self._given, self.geometry.sample_rate
        return self.cached("channels", lambda: resample(given, self._sample_rate, rate))

    def channel_spectrum(self) -> Tensor | None:
        """Return the complex STFT of the channels, `(..., C, F, N)`, cached; None where they are unknown."""
        channels = self.channels
        if channels is None:
            return None
        return self.cached("channel spectrum", lambda: stft(channels, self.geometry))

    def cached(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the cached value of a key, computed on the first call."""
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]

    def keep_spectra(self) -> None:
        """Empty the cache, but for the complex spectrum that the stems are made of: the channels', if any."""
        kept = ("spectrum",) if self._given is None else ("channels", "channel spectrum")
        self._cache = {key: self._cache[key] for key in kept if key in self._cache}

    def spectrum(self) -> Tensor:
        """Return the complex STFT `(..., F, N)`, cached."""
        return self.cached("spectrum", lambda: stft(self.audio, self.geometry))

    def magnitude(self) -> Tensor:
        """Return the magnitude spectrogram `(..., F, N)`, contiguous, cached."""
        return self._magnitude_and_maxima()[0]

    def maxima(self) -> Tensor | None:
        """Return the largest of every 8 frames of the magnitude, `(..., F, (N + 7) // 8)`; on a CPU None."""
        return self._magnitude_and_maxima()[1]

    def loudest(self) -> Tensor:
        """Return the largest magnitude of each mixture, `(...)`; a gradient goes to its bin."""
        spectrogram, maxima = self._magnitude_and_maxima()
        return (spectrogram if maxima is None or spectrogram.requires_grad else maxima).amax((-2, -1))

    def _magnitude_and_maxima(self) -> tuple[Tensor, Tensor | None]:
        def compute() -> tuple[Tensor, Tensor | None]:
            spectrum = self.spectrum()
            # On a CPU reading maxima first is no faster.
            return magnitude_and_maxima(spectrum) if spectrum.is_cuda else (magnitude(spectrum), None)

        return self.cached("magnitude", compute)


def _checked_channels(channels: checks.Audio, audio: Tensor) -> Tensor:
    """Check the channels `(..., C, T)` of a mono mixture `(..., T)`."""
    channels = checks.recording(channels, "channels", rank=2)
    if (*channels.shape[:-2], channels.shape[-1]) != audio.shape:
        shape = tuple(channels.shape)
        raise ValueError(f"channels must have shape (..., C, T) for audio {tuple(audio.shape)}, got {shape}")
    if channels.dtype != audio.dtype or channels.device != audio.device:
        got = f"{channels.dtype} on {channels.device}"
        raise ValueError(f"channels must be {audio.dtype} on {audio.device} as audio is, got {got}")
    return channels
