"""Argument checks: each raises `ValueError` with the argument's name and value.

Values of a tensor (negative, NaN) are checked on the CPU only: on a GPU that would synchronise. They are not
checked in a compiled graph, which would break there.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor

Number = TypeVar("Number", bound=float | Tensor)


def floating(value: Tensor, name: str, rank: int, layout: str) -> Tensor:
    """Check for a real floating-point tensor of at least `rank` dimensions; return it in its dtype."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} must be a tensor, got {type(value).__name__}: {value!r}")
    if value.is_complex() or not value.is_floating_point():
        raise ValueError(f"{name} must be real and floating point, got dtype {value.dtype}")
    if value.dim() < rank:
        raise ValueError(f"{name} must have shape {layout}, got {tuple(value.shape)}")
    if 0 in value.shape[-rank:]:
        raise ValueError(f"{name} must not be empty, got shape {tuple(value.shape)}")
    return value


def real(value: Tensor, name: str, rank: int, layout: str) -> Tensor:
    """Check as `floating`; return half precision as float32."""
    value = floating(value, name, rank, layout)
    return value if value.dtype in (torch.float32, torch.float64) else value.float()


def _readable(value: Tensor) -> bool:
    """Check that values can be read without a synchronisation or a graph break."""
    return value.device.type == "cpu" and not torch.compiler.is_compiling() and value.numel() > 0


def magnitude(value: Tensor, name: str = "magnitude") -> Tensor:
    """Check for a magnitude spectrogram `(..., F, N)`: real, finite, not negative."""
    value = real(value, name, 2, "(..., F, N)")
    if _readable(value):
        low, high = (x.item() for x in torch.aminmax(value.detach()))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{name} must be finite, its extremes are {low} and {high}")
        if low < 0:
            raise ValueError(f"{name} must not be negative, its minimum is {low}")
    return value


def audio(value: Tensor, name: str = "audio", rank: int = 1) -> Tensor:
    """Check for audio `(..., T)` (rank 2: `(..., C, T)`): real and finite."""
    value = real(value, name, rank, "(..., T)" if rank == 1 else "(..., C, T)")
    if _readable(value):
        low, high = (x.item() for x in torch.aminmax(value.detach()))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{name} must be finite, its extremes are {low} and {high}")
    return value


def positive(value: Number, name: str) -> Number:
    """Check for a number above zero; a tensor (a learnt setting) is read only where that costs nothing."""
    if isinstance(value, Tensor):
        if not _readable(value):
            return value
        bad = not bool((value.detach() > 0).all())
    else:
        bad = not (isinstance(value, (int, float)) and 0 < value < math.inf)
    if bad:
        raise ValueError(f"{name} must be positive, got {value!r}")
    return value


def not_negative(value: Number, name: str) -> Number:
    """Check for a number of at least zero; a tensor is read as by `positive`."""
    if isinstance(value, Tensor):
        bad = _readable(value) and not bool((value.detach() >= 0).all())
    else:
        bad = not (isinstance(value, (int, float)) and 0 <= value < math.inf)
    if bad:
        raise ValueError(f"{name} must not be negative, got {value!r}")
    return value


def integer(value: int, name: str, low: int, high: int | None = None) -> int:
    """Check for an integer in [low, high]."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        span = f"at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"{name} must be a whole number {span}, got {value!r}")
    return value
