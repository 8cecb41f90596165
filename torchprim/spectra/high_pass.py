"""High-pass of vocals masks: everything below a cut-off is accompaniment."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchprim import checks
from torchprim.kernels.tables import constant_table

_MOST_BINS = 1 << 24  # half a window of 12 minutes; a table of more is a wrong argument


def high_pass(
    bins: int,
    sample_rate: float,
    cutoff: float | Tensor = 0.0,
    smooth: bool = True,
    *,
    like: Tensor | None = None,
) -> Tensor:
    """Compute the gain of each frequency bin, to multiply a vocals mask with.

    Hard: g(f) = 1 where f >= cutoff, else 0. Smooth: a raised cosine in log frequency,
    g(f) = sin²(π / 2 · clamp(1 / 2 + log2(f / cutoff), 0, 1)), from cutoff / √2 to cutoff √2.
    No other setting improves the classical primitives as much: little of a voice and most of the bass and
    the bass drum lies below 200 Hz.

    Args:
        bins: F, from 0 Hz to half the sample rate.
        sample_rate: in Hz.
        cutoff: in Hz; 0 for none. A tensor receives a gradient if `smooth`.
        smooth: raised cosine instead of a step.
        like: gives dtype and device.

    Returns:
        `(F, 1)`, in [0, 1].

    Raises:
        ValueError: for a cut-off that is negative or above half the sample rate; of a tensor on a CPU.

    Example:
        >>> from torchprim.spectra.high_pass import high_pass
        >>> [round(x, 2) for x in high_pass(5, 800, 200).flatten().tolist()]
        [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    checks.integer(bins, "bins", 1, _MOST_BINS)
    checks.rate(sample_rate, "sample_rate")
    checks.not_negative(cutoff, "cutoff", sample_rate / 2)
    like = checks.like(like)
    if isinstance(cutoff, Tensor):
        checks.holds_values(cutoff, "cutoff", like)
        return _gain(bins, sample_rate, cutoff.to(like), smooth, like)
    (gain,) = _constant_gain(bins, float(sample_rate), float(cutoff), smooth, like.dtype, like.device)
    return gain.clone()  # the caller's own


@constant_table
def _constant_gain(
    bins: int, sample_rate: float, cutoff: float, smooth: bool, dtype: torch.dtype, device: torch.device
) -> list[Tensor]:
    return [_gain(bins, sample_rate, cutoff, smooth, torch.empty(0, dtype=dtype, device=device))]


def _gain(bins: int, sample_rate: float, cutoff: float | Tensor, smooth: bool, like: Tensor) -> Tensor:
    """Compute the gain as its equation is written."""
    frequency = torch.linspace(0, sample_rate / 2, bins, dtype=like.dtype, device=like.device)[:, None]
    if not isinstance(cutoff, Tensor) and cutoff == 0:
        return torch.ones_like(frequency)
    if not smooth:
        return (frequency >= cutoff).to(like.dtype)
    # The clamp keeps the logarithm finite at 0 Hz.
    octaves = torch.log2(frequency.clamp(min=1e-3)) - (
        torch.log2(cutoff) if isinstance(cutoff, Tensor) else math.log2(cutoff)
    )
    return torch.sin(math.pi / 2 * (0.5 + octaves).clamp(0, 1)) ** 2
