"""One batch of mixtures, and everything that is computed from it once and used by several cues."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor

from torchprim import checks
from torchprim.audio.resampling import resample
from torchprim.spectra.stft import Geometry, stft


class Mixture:
    """Mono mixtures `(..., T)` with their spectra, computed on first use and then kept.

    Primitives look at one mixture through several windows (2048, 16384, and 16 kHz); each transform is
    made once. All items of a batch have the same length: zero padding would change medians and 2DFT.

    Args:
        audio: `(..., T)`.
        sample_rate: in Hz.
        geometry: the grid on which masks are made; audio at another rate is resampled to the grid's.

    Raises:
        ValueError: for audio that is complex, empty or not finite, or a rate that is not positive.

    Example:
        >>> import torch, torchprim as tp
        >>> mixture = tp.Mixture(torch.randn(2, 44100), 44100)
        >>> mixture.magnitude().shape, mixture.magnitude() is mixture.magnitude()
        (torch.Size([2, 1025, 87]), True)
    """

    def __init__(self, audio: Tensor, sample_rate: float, geometry: Geometry | None = None) -> None:
        self.geometry = geometry or Geometry()
        self.audio = resample(checks.audio(audio), sample_rate, self.geometry.sample_rate)
        self._kept: dict[Hashable, Any] = {}

    def once(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The value kept under `key`, computed if it is not there yet."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    def spectrum(self) -> Tensor:
        """The complex STFT `(..., F, N)` on the mixture's grid."""
        return self.once("spectrum", lambda: stft(self.audio, self.geometry))

    def magnitude(self) -> Tensor:
        """The magnitude spectrogram `(..., F, N)` on the mixture's grid."""
        return self.once("magnitude", lambda: self.spectrum().abs())
