"""Repetition and micro-modulation, both from the 2-D Fourier transform of the spectrogram."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchprim import checks
from torchprim.kernels.local_peaks import local_peaks
from torchprim.primitives.high_pass import high_pass


class FT2DMasks(NamedTuple):
    """Vocals masks `(..., F, N)` of the two cues."""

    repetition: Tensor
    micro_modulation: Tensor


def _share(part: Tensor, magnitude: Tensor) -> Tensor:
    """min(part, A) / A, scaled to a maximum of 1; 0 where A is 0."""
    present = magnitude > 0
    share = torch.where(present, (part / torch.where(present, magnitude, 1)).clamp(max=1), 0)
    highest = share.amax((-2, -1), keepdim=True)
    return share / torch.where(highest > 0, highest, 1)


def ft2d(
    magnitude: Tensor,
    neighbourhood: tuple[int, int] = (1, 25),
    *,
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
    and both cues take one forward and one inverse transform.

    Args:
        magnitude: `(..., F, N)`, not negative.
        neighbourhood: scales and rates of a peak's surroundings, odd. Clips with fewer frames than
            rates use what there is.
        cutoff: high-pass in Hz, see `high_pass`; 0 for none.
        smooth: whether the high-pass is smooth.
        sample_rate: in Hz; gives the bins their frequencies, for the high-pass alone.

    Returns:
        `repetition` and `micro_modulation`, each `(..., F, N)` in [0, 1].

    Raises:
        ValueError: for a magnitude that is complex, negative or not finite, or an even neighbourhood.

    Example:
        >>> import torch, torchprim as tp
        >>> magnitude = tp.stft(torch.randn(2, 44100)).abs()
        >>> masks = tp.ft2d(magnitude, cutoff=220)
        >>> masks.repetition.shape
        torch.Size([2, 1025, 87])
    """
    magnitude = checks.magnitude(magnitude)
    bins, frames = magnitude.shape[-2:]
    sizes = zip(neighbourhood, (bins, frames), strict=True)
    fitting = tuple(size if size % 2 == 0 else min(size, whole - (whole + 1) % 2) for size, whole in sizes)
    # The transform over frequency is the halved one: then the axis of rates stays whole, and the
    # neighbourhoods, which run along it, wrap round in place.
    spectrum = torch.fft.rfft2(magnitude, dim=(-1, -2))
    level = spectrum.abs()
    highest = level.amax((-2, -1), keepdim=True)
    peaks = local_peaks(level / torch.where(highest > 0, highest, 1), bins, fitting)
    background = torch.fft.irfft2(peaks * spectrum, s=(frames, bins), dim=(-1, -2))
    gain = high_pass(bins, sample_rate, cutoff, smooth, like=magnitude)
    present = magnitude > 0
    repetition = torch.where(present, (1 - _share(background.abs(), magnitude)) * gain, 0)
    micro_modulation = _share((magnitude - background).abs(), magnitude) * gain
    return FT2DMasks(repetition, micro_modulation)


class FT2D(nn.Module):
    """`ft2d` with its settings kept; the arguments are those of the function.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.FT2D((1, 35))(torch.rand(65, 100)).micro_modulation.shape
        torch.Size([65, 100])
    """

    def __init__(
        self,
        neighbourhood: tuple[int, int] = (1, 25),
        *,
        cutoff: float | Tensor = 0.0,
        smooth: bool = True,
        sample_rate: float = 44100,
    ) -> None:
        super().__init__()
        self.settings = {
            "neighbourhood": neighbourhood,
            "cutoff": cutoff,
            "smooth": smooth,
            "sample_rate": sample_rate,
        }

    def forward(self, magnitude: Tensor) -> FT2DMasks:
        return ft2d(magnitude, **self.settings)
