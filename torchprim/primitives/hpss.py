"""HPSS: timbre, harmonic against percussive, by median filters along time and along frequency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchprim import checks
from torchprim.kernels.hpss.hpss_mask import hpss_mask
from torchprim.kernels.hpss.sliding_median import LARGEST_WINDOW
from torchprim.primitives.base import Primitive
from torchprim.spectra.high_pass import high_pass


def filter_lengths(kernel_size: int | tuple[int, int]) -> tuple[int, int]:
    """Check a kernel size; return the lengths of the median filters (over frames, over bins)."""
    over_frames, over_bins = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    checks.integer(over_frames, "kernel_size", 1, LARGEST_WINDOW)
    checks.integer(over_bins, "kernel_size", 1, LARGEST_WINDOW)
    return over_frames, over_bins


def hpss(
    magnitude: Tensor,
    kernel_size: int | tuple[int, int] = 31,
    power: float | Tensor = 2.0,
    *,
    cutoff: float | Tensor = 0.0,
    smooth: bool = True,
    sample_rate: float = 44100,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Compute the vocals mask of harmonic-percussive separation: the harmonic part counts as vocals.

    mask = H^p / (H^p + P^p), H the magnitude median-filtered over `kernel_size` frames and P over as many
    bins (FitzGerald 2010), edges mirrored; 1/2 where both are 0, 0 where the magnitude is 0.
    Elsewhere it equals `librosa.decompose.hpss(magnitude, kernel_size=31, mask=True)[0]`.

    Args:
        magnitude: `(..., F, N)`, not negative.
        kernel_size: length of the median filters, 1 to 1023; a pair gives (over frames, over bins).
        power: exponent p, positive; a tensor receives a gradient.
        cutoff: high-pass in Hz, see `high_pass`; 0 for none.
        smooth: whether the high-pass is smooth.
        sample_rate: in Hz; used by the high-pass alone.
        dtype: in which the mask is stored, float16 or float32; that of the magnitude by default.

    Returns:
        `(..., F, N)` in [0, 1].

    Raises:
        ValueError: for a magnitude that is complex, negative or not finite, a kernel size out of range, or
            a power that is not positive.

    Example:
        >>> import torch, torchprim as tp
        >>> magnitude = torch.zeros(64, 64)
        >>> magnitude[20] = 1.0  # a steady tone
        >>> magnitude[:, 40] = 1.0  # a click
        >>> mask = tp.hpss(magnitude, kernel_size=9)
        >>> mask[20, 10].item(), mask[50, 40].item()
        (1.0, 0.0)
    """
    magnitude = checks.magnitude(magnitude)
    if isinstance(checks.positive(power, "power"), Tensor):
        checks.holds_values(power, "power", magnitude)
    gain = high_pass(magnitude.shape[-2], sample_rate, cutoff, smooth, like=magnitude)
    return hpss_mask(magnitude, *filter_lengths(kernel_size), power, gain[:, 0], dtype)


class HPSS(Primitive, function=hpss):
    """Module of `hpss`; its settings are attributes, see `Primitive`.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.HPSS(kernel_size=17)(torch.rand(2, 65, 40)).shape
        torch.Size([2, 65, 40])
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int] = 31,
        power: float | Tensor = 2.0,
        *,
        cutoff: float | Tensor = 0.0,
        smooth: bool = True,
        sample_rate: float = 44100,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(locals())

    def forward(self, magnitude: Tensor) -> Tensor:
        return hpss(magnitude, **self.settings)

    if TYPE_CHECKING:

        def __call__(self, magnitude: Tensor) -> Tensor: ...
