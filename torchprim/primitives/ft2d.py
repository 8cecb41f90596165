"""Repetition and micro-modulation, both from the 2-D Fourier transform of the spectrogram."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.kernels.ft2d.ft2d_masks import ft2d_masks
from torchprim.kernels.ft2d.local_peaks import kept_peaks
from torchprim.primitives.base import Primitive
from torchprim.spectra.high_pass import high_pass


class FT2DMasks(NamedTuple):
    """Vocals masks `(..., F, N)` of the two cues."""

    repetition: Tensor
    micro_modulation: Tensor


def ft2d(
    magnitude: Tensor,
    neighbourhood: tuple[int, int] = (1, 25),
    *,
    temperature: float | Tensor = 0.0,
    cutoff: float | Tensor = 0.0,
    smooth: bool = True,
    sample_rate: float = 44100,
) -> FT2DMasks:
    """Vocals masks of repetition (2DFT-R) and micro-modulation (2DFT-M).

    What repeats in time is a peak of S = FFT2(A). With P the map of those peaks, see `local_peaks`, the
    background is B = |IFFT2(P S)| and what is left G = |IFFT2((1 - P) S)| = |A - IFFT2(P S)|
    (Seetharaman, Pishdadian and Pardo 2017). 2DFT-R: 1 - b with b = min(B, A) / A scaled to a maximum
    of 1; 2DFT-M: min(G, A) / A scaled likewise. Where A is 0 both are 0.

    A real transform keeps half of the plane: P is symmetric and the background real by construction,
    and both cues take one forward and one inverse transform. On a GPU, the hard choice of peaks from
    neighbourhoods of one scale and up to 63 rates is one kernel, the masks another; soft choices and
    other neighbourhoods are plain torch.

    Args:
        magnitude: `(..., F, N)`, not negative.
        neighbourhood: scales and rates of a peak's surroundings, odd. Clips with fewer frames than
            rates use what there is.
        temperature: of the choice of peaks, in standard deviations of a neighbourhood, see `local_peaks`.
            With 0, the rule above, which entries are peaks is fixed for the gradient; above 0, gradients
            flow to all entries, and to the temperature, if it is a tensor.
        cutoff: high-pass in Hz, see `high_pass`; 0 for none.
        smooth: whether the high-pass is smooth.
        sample_rate: in Hz; gives the bins their frequencies, for the high-pass alone.

    Returns:
        `repetition` and `micro_modulation`, each `(..., F, N)` in [0, 1].

    Raises:
        ValueError: for a magnitude that is complex, negative or not finite, an even neighbourhood, or a
            temperature that is negative.

    Example:
        >>> import torch, torchprim as tp
        >>> magnitude = tp.stft(torch.randn(2, 44100)).abs()
        >>> masks = tp.ft2d(magnitude, cutoff=220)
        >>> masks.repetition.shape
        torch.Size([2, 1025, 87])
    """
    magnitude = checks.magnitude(magnitude)
    if isinstance(temperature, Tensor) or temperature != 0:
        checks.positive(temperature, "temperature")
    bins, frames = magnitude.shape[-2:]
    sizes = zip(neighbourhood, (bins, frames), strict=True)
    fitting = tuple(size if size % 2 == 0 else min(size, whole - (whole + 1) % 2) for size, whole in sizes)
    # Frames innermost: the transform that is halved runs over them, and of an even length costs half.
    magnitude = magnitude.contiguous()
    spectrum = torch.fft.rfft2(magnitude)
    kept, highest = kept_peaks(spectrum, frames, fitting, temperature)
    # Neither max P nor the norm of the transform is divided by here: the masks do so as they read.
    background = torch.fft.irfft2(kept, s=(bins, frames), norm="forward")
    gain = high_pass(bins, sample_rate, cutoff, smooth, like=magnitude)[:, 0]
    return FT2DMasks(*ft2d_masks(magnitude, background, highest, 1 / (bins * frames), gain))


class FT2D(Primitive, function=ft2d):
    """`ft2d` as a module: its settings are attributes, see `Primitive`.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.FT2D((1, 35))(torch.rand(65, 100)).micro_modulation.shape
        torch.Size([65, 100])
    """

    def __init__(
        self,
        neighbourhood: tuple[int, int] = (1, 25),
        *,
        temperature: float | Tensor = 0.0,
        cutoff: float | Tensor = 0.0,
        smooth: bool = True,
        sample_rate: float = 44100,
    ) -> None:
        super().__init__(locals())

    def forward(self, magnitude: Tensor) -> FT2DMasks:
        return ft2d(magnitude, **self.settings)

    if TYPE_CHECKING:

        def __call__(self, magnitude: Tensor) -> FT2DMasks: ...
