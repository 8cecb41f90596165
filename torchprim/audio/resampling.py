"""Resampling by windowed-sinc interpolation (torchaudio's), for any pair of rates."""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import torch
from torch import Tensor

from torchprim import checks
from torchprim.kernels.autocast import outside_autocast

# torchaudio's filter bank grows with the terms of the reduced ratio (44100 -> 44099 would take 8 GB).
# Every pair of rates in use has terms below this; others are rounded, by less than 0.1 %.
_LARGEST_TERM = 1000


def check_rates(rate: float, other: float, name: str, other_name: str = "") -> None:
    """Check that one rate can be resampled to another: they differ by a factor of 1000 at most.

    Raises:
        ValueError: naming the rate.
    """
    if not 1 / _LARGEST_TERM <= rate / other <= _LARGEST_TERM:
        of = f"{other_name}, {other!r} Hz" if other_name else f"{other!r} Hz"
        raise ValueError(f"{name} must be within a factor of 1000 of {of}, got {rate!r}")


def _ratio(old: float, new: float) -> Fraction:
    """Return new / old with terms of at most `_LARGEST_TERM`."""
    check_rates(new, old, "new_rate", "old_rate")
    old_terms, new_terms = (Fraction(rate).limit_denominator(10**6) or Fraction(rate) for rate in (old, new))
    exact = new_terms / old_terms
    largest = max(exact.numerator, exact.denominator)
    if largest <= _LARGEST_TERM:
        return exact
    limit = max(1, math.floor(_LARGEST_TERM / max(1, exact)))
    return exact.limit_denominator(limit) or Fraction(1, _LARGEST_TERM)


def resample(audio: checks.Audio, old_rate: float, new_rate: float) -> Tensor:
    """Resample with a band-limited, differentiable interpolation (Smith and Gossett 1984).

    Args:
        audio: `(..., T)`.
        old_rate: its rate in Hz.
        new_rate: target rate in Hz, within a factor of 1000 of the old one. Ratios with terms above 1000
            are rounded by less than 0.1 %.

    Returns:
        `(..., ceil(T new_rate / old_rate))`; the input itself where the rates are equal.

    Raises:
        ValueError: for rates that are not positive numbers or too far apart, or audio that is complex or
            empty; where the rates differ, for audio that is not finite.
        ImportError: without torchaudio, where the rates differ.

    Example:
        >>> import torch
        >>> from torchprim.audio.resampling import resample
        >>> resample(torch.randn(2, 48000), 48000, 44100).shape
        torch.Size([2, 44100])
    """
    audio = checks.floating(audio, "audio", 1, "(..., T)")
    ratio = _ratio(float(checks.rate(old_rate, "old_rate")), float(checks.rate(new_rate, "new_rate")))
    if ratio == 1:
        return audio
    checks.audio(audio)
    if audio.numel() == 0:  # a batch of none
        return audio.new_empty(*audio.shape[:-1], math.ceil(audio.shape[-1] * ratio))
    try:
        # torchaudio takes a view of the audio, which a transposed batch does not allow.
        return _resampled(audio.contiguous(), ratio)
    except ImportError as error:
        raise ImportError(
            f"resampling from {old_rate} to {new_rate} Hz needs torchaudio: pip install torchaudio"
        ) from error


@outside_autocast
def _resampled(audio: Tensor, ratio: Fraction) -> Tensor:
    return _resampler(ratio, audio.dtype, audio.device)(audio)


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)
def _resampler(ratio: Fraction, dtype: torch.dtype, device: torch.device) -> torch.nn.Module:
    """Build the filter bank once, in double precision; torchaudio.functional waits for the device."""
    from torchaudio.transforms import Resample

    rates = ratio.denominator, ratio.numerator
    return Resample(*rates, lowpass_filter_width=16, dtype=torch.float64).to(device, dtype)
