"""Argument checks: each raises `ValueError` with the argument's name and value.

Values of a tensor (negative, NaN) are checked on the CPU only: on a GPU that would synchronise. They are not
checked in a compiled graph, which would break there, nor under `torch.func`, as `vmap` has none.
"""

from __future__ import annotations

import math
import numbers
import os
import re
import reprlib
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

Audio: TypeAlias = "Tensor | np.ndarray[Any, Any]"  # what a function of audio takes
Number = TypeVar("Number", bound=float | Tensor)
# Beyond it powers and sums of powers leave the range of float32. A flipped bit in a float file comes there.
LARGEST_SAMPLE = torch.tensor(1e30, dtype=torch.float32).item()  # float32 rounds it up
_WITHOUT_FLOAT64 = ("mps",)
URL = "is a URL: download it first"
_FEW_CHANNELS = 32
LOWEST_RATE, HIGHEST_RATE = 1e3, 1e6  # of audio files, in Hz; what lies outside is no music


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxtuple = 1, 4, 4


def described(value: object) -> str:
    """Return an argument's value for a message, short and in one line: of an array its type and shape."""
    shape = getattr(value, "shape", None)
    if shape is not None and (len(shape) or not _has_values(value)):
        return f"{type(value).__name__} of shape {tuple(shape)}"
    return " ".join(_SHORT.repr(value).split())


def _has_values(value: object) -> bool:
    """Check that an array of no dimensions can be printed: it is neither sparse nor on the meta device."""
    return not isinstance(value, Tensor) or (value.layout is torch.strided and not value.is_meta)


def dense(value: Tensor, name: str) -> Tensor:
    """Check for a tensor that is neither sparse nor quantised."""
    if value.layout is not torch.strided or value.is_quantized:
        raise ValueError(f"{name} must be a dense tensor, got one of layout {value.layout}")
    return value


def like(value: Tensor | None) -> Tensor:
    """Check the argument `like`, a tensor that gives dtype and device; return an empty one for None."""
    if value is None:
        return torch.empty(0)
    if not isinstance(value, Tensor) or not value.is_floating_point():
        got = value.dtype if isinstance(value, Tensor) else described(value)
        raise ValueError(f"like must be a tensor of floating point, got {got}")
    return dense(value, "like")


def holds_values(value: Tensor, name: str, like: Tensor | None = None) -> None:
    """Check that a tensor is not on the meta device, except beside one that is."""
    if value.is_meta and not (like is not None and like.is_meta):
        raise ValueError(f"{name} must hold values, got a tensor on the meta device")


def same_device(value: Tensor, name: str, other: Tensor, other_name: str) -> None:
    """Check that two tensors are on one device."""
    if value.device != other.device:
        raise ValueError(f"{name} must be on the device of {other_name}, {other.device}, got {value.device}")


def number(value: float, name: str) -> float:
    """Check for a plain real number: no tensor, no text."""
    if not isinstance(value, numbers.Real):
        raise ValueError(f"{name} must be a number, got {described(value)}")
    return value


def _tensor(value: Any) -> Any:
    """Return an array of NumPy as a tensor of its own, anything else as it is."""
    if isinstance(value, Tensor) or not hasattr(value, "__array_interface__"):
        return value
    import numpy as np

    array = np.asarray(value)
    # A copy: torch takes neither negative strides, nor foreign byte orders, nor memory that is read-only.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def floating(value: Audio, name: str, rank: int, layout: str) -> Tensor:
    """Check for a real floating-point tensor of at least `rank` dimensions; return it in its dtype.

    Leading dimensions may be 0: a batch of none.
    """
    value = _tensor(value)
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} must be a tensor, got {described(value)}")
    dense(value, name)
    if value.is_complex() or not value.is_floating_point():
        raise ValueError(f"{name} must be real and floating point, got dtype {value.dtype}")
    if value.dim() < rank:
        raise ValueError(f"{name} must have shape {layout}, got {tuple(value.shape)}")
    if 0 in value.shape[value.dim() - rank :]:
        raise ValueError(f"{name} must not be empty, got shape {tuple(value.shape)}")
    return value


def real(value: Audio, name: str, rank: int, layout: str) -> Tensor:
    """Check as `floating`; return half precision as float32."""
    value = floating(value, name, rank, layout)
    return value if value.dtype in (torch.float32, torch.float64) else value.float()


def _readable(value: Tensor) -> bool:
    """Check that values can be read without a synchronisation or a graph break, and outside `torch.func`."""
    return (
        value.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and value.numel() > 0
        and not torch._C._are_functorch_transforms_active()
    )


def in_range(value: Tensor, name: str, low: float = -math.inf, high: float = math.inf) -> Tensor:
    """Check that the values of a tensor are finite and lie in [low, high]."""
    if value.dtype != torch.bool and _readable(value):
        smallest, largest = (x.item() for x in torch.aminmax(value.detach()))
        if not (math.isfinite(smallest) and math.isfinite(largest)):
            raise ValueError(f"{name} must be finite, its extremes are {smallest} and {largest}")
        if smallest < low:
            least = "must not be negative" if low == 0 else f"must be at least {low}"
            raise ValueError(f"{name} {least}, its minimum is {smallest}")
        if largest > high:
            raise ValueError(f"{name} must be at most {high}, its maximum is {largest}")
    return value


def magnitude(value: Audio, name: str = "magnitude", keep_half: bool = False) -> Tensor:
    """Check for a magnitude spectrogram `(..., F, N)`: real, finite, not negative.

    Half precision is returned as float32, or with `keep_half` as it is.
    """
    return in_range((floating if keep_half else real)(value, name, 2, "(..., F, N)"), name, 0)


def audio(value: Audio, name: str = "audio", rank: int = 1) -> Tensor:
    """Check for audio `(..., T)` (rank 2: `(..., C, T)`): real, finite, within ±1e30."""
    value = real(value, name, rank, "(..., T)" if rank == 1 else "(..., C, T)")
    if _readable(value):
        low, high = (x.item() for x in torch.aminmax(value.detach()))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{name} must be finite, its extremes are {low} and {high}")
        if max(-low, high) > LARGEST_SAMPLE:
            raise ValueError(f"{name} must lie within ±{LARGEST_SAMPLE:g}, its extremes are {low} and {high}")
    return value


def recording(value: Audio, name: str = "audio", rank: int = 1) -> Tensor:
    """Check as `audio`, and for no more channels or items than samples: `(T, C)` would take minutes.

    Up to 32 may have fewer, such as the last sample of a stereo recording.
    """
    value = audio(value, name, rank)
    if value.dim() > 1 and value.shape[-2] > max(value.shape[-1], _FEW_CHANNELS):
        first = "channels" if rank == 2 else "items"
        raise ValueError(
            f"{name} has {value.shape[-2]} {first} of {value.shape[-1]} samples, shape {tuple(value.shape)}: "
            "is it (T, C)? Transpose it to (C, T)"
        )
    return value


def rate(value: float, name: str) -> float:
    """Check for a rate in Hz: a positive number, and no tensor; return it as an `int` or a `float`."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise ValueError(f"{name} must be a number in Hz, got {described(value)}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive, got {described(value)}")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def file_rate(value: float, name: str) -> float:
    """Check for the rate of an audio file in Hz, from 1 kHz to 1 MHz; return it as `rate` does."""
    if not LOWEST_RATE <= (checked := rate(value, name)) <= HIGHEST_RATE:
        raise ValueError(f"{name} must lie in [{LOWEST_RATE:g}, {HIGHEST_RATE:g}] Hz, got {described(value)}")
    return checked


def file_path(value: str | os.PathLike[str], name: str = "path") -> None:
    """Check for a path, a `str` or `os.PathLike[str]`: an integer would be taken for an open file.

    Raises:
        TypeError: for anything else.
    """
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise TypeError(f"{name} must be a str or an os.PathLike[str], got {described(value)}")


def double(value: Tensor) -> Tensor:
    """Convert to float64, on the CPU where the device has none (Apple's MPS)."""
    return value.cpu().double() if value.device.type in _WITHOUT_FLOAT64 else value.double()


def is_url(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a URL, also where a `Path` has made one slash of its two.

    Example:
        >>> from torchprim.checks import is_url
        >>> is_url("https://a.org/song.mp3"), is_url("c:/song.mp3"), is_url("Live: 1/2.mp3")
        (True, False, False)
    """
    return re.match(r"[a-z][a-z0-9+.-]+:/", os.fspath(path), re.IGNORECASE) is not None


def _real_setting(value: Tensor, name: str) -> Tensor:
    if value.is_complex():
        raise ValueError(f"{name} must be real, got dtype {value.dtype}")
    if value.numel() != 1:
        raise ValueError(f"{name} must be one number, got a tensor of shape {tuple(value.shape)}")
    return dense(value, name)


def positive(value: Number, name: str, like: Tensor | None = None) -> Number:
    """Check for a number above zero; a tensor (a learnt setting) is read only where that costs nothing.

    With `like` a tensor without values is refused, except beside one that has none, either.
    """
    if isinstance(value, Tensor):
        if like is not None:
            holds_values(value, name, like)
        if not _readable(_real_setting(value, name)):
            return value
        bad = not bool((value.detach() > 0).all())
    else:
        bad = not (isinstance(value, numbers.Real) and 0 < value < _beyond(value))
    if bad:
        raise ValueError(f"{name} must be positive, got {described(value)}")
    return value


def not_negative(value: Number, name: str, high: float = math.inf) -> Number:
    """Check for a number in [0, high]; a tensor (a learnt setting) is read only where that costs nothing."""
    if isinstance(value, Tensor):
        return in_range(_real_setting(value, name), name, 0, high)
    if not (isinstance(value, numbers.Real) and 0 <= value <= high and value < _beyond(value)):
        wanted = "must be finite and not negative" if high == math.inf else f"must lie in [0, {high}]"
        raise ValueError(f"{name} {wanted}, got {described(value)}")
    return value


def _beyond(value: float) -> float:
    """Return the first number that torch cannot take: 2**63 of integers."""
    return 1 << 63 if isinstance(value, numbers.Integral) else math.inf


def integer(value: int, name: str, low: int, high: int | None = None) -> int:
    """Check for an integer in [low, high], of 64 bits."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if whole and high is None and value >= _beyond(value):
        raise ValueError(f"{name} must be below 2**63, got {described(value)}")
    if not whole or value < low or (high is not None and value > high):
        span = f"at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"{name} must be a whole number {span}, got {described(value)}")
    return value
