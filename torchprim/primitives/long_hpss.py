"""Long-window HPSS: fluctuation, a singing voice looks percussive and sustained instruments harmonic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchprim import checks
from torchprim.kernels.hpss.hpss_mask import hpss_mask
from torchprim.kernels.spectra.magnitude import magnitude
from torchprim.kernels.spectra.wiener_masks import wiener_masks
from torchprim.primitives.base import Primitive
from torchprim.primitives.hpss import filter_lengths
from torchprim.spectra.high_pass import high_pass
from torchprim.spectra.stft import Geometry, find_geometry, masked_istft, stft


def long_hpss(
    audio: checks.Audio,
    kernel_size: int | tuple[int, int] = 17,
    power: float | Tensor = 2.0,
    *,
    window_length: int = 16384,
    hop_length: int = 4096,
    cutoff: float | Tensor = 0.0,
    smooth: bool = True,
    geometry: Geometry | None = None,
    spectrum: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Compute the vocals mask of HPSS with a long window: the percussive part counts as vocals.

    Within a window of a third of a second the pitch of a voice moves enough to spread over bins; sustained
    notes do not. With e the percussive part there (1 - H^p / (H^p + P^p), see `hpss`), resynthesised, E its
    STFT on the grid of the masks and X that of the mixture:
    mask = |E|² / (|E|² + |X - E|²) (FitzGerald 2010; Tachibana, Ono and Sagayama 2014).
    Drums count as vocals, too: combine this cue with others.

    Args:
        audio: `(..., T)`, at the sample rate of `geometry`.
        kernel_size: length of the median filters, 1 to 1023; a pair gives (over frames, over bins).
        power: exponent p, positive; a tensor receives a gradient.
        window_length: of the long STFT, in samples.
        hop_length: of the long STFT, in samples.
        cutoff: high-pass in Hz, see `high_pass`; 0 for none.
        smooth: whether the high-pass is smooth.
        geometry: grid of the mask; the paper's by default.
        spectrum: the mixture's STFT on that grid, `(..., F, N)`; computed by default.
        dtype: in which the mask is stored, float16 or float32; that of the audio by default.

    Returns:
        `(..., F, N)` in [0, 1].

    Raises:
        ValueError: for audio that is complex, empty or not finite, or settings out of range.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.long_hpss(torch.randn(2, 44100), cutoff=220).shape
        torch.Size([2, 1025, 87])
    """
    geometry = find_geometry(geometry)
    gain = high_pass(geometry.bins, geometry.sample_rate, cutoff, smooth, like=checks.audio(audio))
    settings = {"window_length": window_length, "hop_length": hop_length, "geometry": geometry}
    return long_hpss_masks(audio, gain.mT, kernel_size, power, **settings, spectrum=spectrum, dtype=dtype)[0]


def long_hpss_masks(
    audio: checks.Audio,
    gains: Tensor,
    kernel_size: int | tuple[int, int] = 17,
    power: float | Tensor = 2.0,
    *,
    window_length: int,
    hop_length: int,
    geometry: Geometry,
    spectrum: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Compute the mask of `long_hpss` for several gains `(K, F)` of the bins at once: `(K, ..., F, N)`."""
    audio = checks.audio(audio)
    if isinstance(checks.positive(power, "power"), Tensor):
        checks.holds_values(power, "power", audio)
    spectrum = stft(audio, geometry) if spectrum is None else spectrum
    long_geometry = Geometry(geometry.sample_rate, window_length, hop_length, geometry.window)
    long_spectrum = stft(audio.reshape(-1, audio.shape[-1]), long_geometry)  # (B, F, N)
    harmonic_mask = hpss_mask(magnitude(long_spectrum), *filter_lengths(kernel_size), power)
    percussive = masked_istft(harmonic_mask, long_spectrum, long_geometry, audio.shape[-1], residual=True)
    del long_spectrum, harmonic_mask  # the peak of memory of an ensemble on a CPU is below
    return wiener_masks(stft(percussive.reshape(audio.shape), geometry), spectrum, gains.to(audio), dtype)


class LongHPSS(Primitive, function=long_hpss):
    """Module of `long_hpss`; its settings are attributes, see `Primitive`.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.LongHPSS(cutoff=220)(torch.randn(44100)).shape
        torch.Size([1025, 87])
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int] = 17,
        power: float | Tensor = 2.0,
        *,
        window_length: int = 16384,
        hop_length: int = 4096,
        cutoff: float | Tensor = 0.0,
        smooth: bool = True,
        geometry: Geometry | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(locals())

    def forward(self, audio: checks.Audio, spectrum: Tensor | None = None) -> Tensor:
        return long_hpss(audio, **self.settings, spectrum=spectrum)

    if TYPE_CHECKING:

        def __call__(self, audio: checks.Audio, spectrum: Tensor | None = None) -> Tensor: ...
