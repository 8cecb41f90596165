"""Peaks of a 2-D Fourier magnitude that stand out from their neighbourhood."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchprim.kernels.ft2d.neighbourhood import largest, moments, padded
from torchprim.kernels.register import register_gradient, register_operator

_EPSILON = 1e-7
LARGEST_RATES = 63  # of a neighbourhood that the kernel takes


def _deviation(squares: Tensor, count: int) -> Tensor:
    """Return the standard deviation, whose gradient at 0 is 0 and not infinite."""
    variance = squares / count
    flat = variance <= 0
    return variance.masked_fill(flat, 1).sqrt().masked_fill(flat, 0)


def peak_map(
    m: Tensor, frames: int, neighbourhood: tuple[int, int], temperature: float | Tensor = 0.0
) -> Tensor:
    """Compute P before it is divided by its maximum, in plain torch, differentiable by autograd."""
    bins, columns = m.shape[-2:]
    scales, rates = (size // 2 for size in neighbourhood)
    near = padded(m, frames, neighbourhood)
    # `m` without the padding, and with columns that are their own reflection symmetric to the last bit.
    m = near.narrow(-2, scales, bins).narrow(-1, rates, columns)
    mean, squares = moments(near, neighbourhood)
    deviation = _deviation(squares, neighbourhood[0] * neighbourhood[1]) + _EPSILON
    if not isinstance(temperature, Tensor) and temperature == 0:
        # A flat neighbourhood has no peak: its score is 0, with a derivative of 0 and not 1e7.
        peak = (m == largest(near.detach(), neighbourhood)) & (m > mean)
        return torch.where(peak, (m - mean) / deviation, 0)
    score = ((m - mean) / deviation).clamp(min=0)
    # A temperature of 0 in a tensor is the limit: a step.
    cold = (temperature * deviation).clamp(min=torch.finfo(m.dtype).tiny)
    return 2 * torch.sigmoid((m - largest(near, neighbourhood)) / cold) * score


def local_peaks(
    m: Tensor,
    frames: int,
    neighbourhood: tuple[int, int] = (1, 25),
    temperature: float | Tensor = 0.0,
) -> Tensor:
    """Compute how far each local maximum of a 2-D Fourier magnitude stands out from its neighbourhood.

    P = (M - mean) / (std + 1e-7) where M equals the maximum of its neighbourhood, else 0, with mean and
    standard deviation over the neighbourhood, which wraps round the plane; then P / max P
    (Seetharaman, Pishdadian and Pardo 2017). The plane of a real signal is point-symmetric about zero,
    and so is the result.

    With a temperature T above 0, the choice is soft: P = 2 sigmoid((M - max) / (T (std + 1e-7))) times
    the score max(0, (M - mean) / (std + 1e-7)), max being that of the neighbourhood. The weight is 1 at a
    peak; for T -> 0 it is 0 elsewhere, the rule above. Plain torch on any device; `kept_peaks` has the
    kernel.

    Args:
        m: `(..., F, N // 2 + 1)`, all F scales and the rates 0 .. N // 2 of a real 2-D transform, scaled
            to a maximum of 1. The other rates are point reflections of these.
        frames: number of rates N of the whole plane.
        neighbourhood: scales and rates, odd, at most the size of the plane.
        temperature: in standard deviations of the neighbourhood; 0 for the hard rule. A tensor of one
            number receives a gradient.

    Returns:
        `(..., F, N // 2 + 1)` in [0, 1]. The gradient of the hard rule flows through the values of the
        peaks; the indices of the peaks and of the largest are fixed.

    Raises:
        ValueError: for a neighbourhood that is even or larger than 1023 or than the plane either way, a
            half plane that does not belong to `frames`, or a temperature that is negative.

    Example:
        >>> import torch
        >>> from torchprim.kernels.ft2d.local_peaks import local_peaks
        >>> m = torch.zeros(4, 3)
        >>> m[1, 1] = 1.0
        >>> local_peaks(m, 5, (1, 3))[1].tolist()
        [0.0, 1.0, 0.0]
    """
    _check(m, frames, neighbourhood, temperature)
    peaks = peak_map(m, frames, neighbourhood, temperature)
    highest = peaks.amax((-2, -1), keepdim=True)
    return peaks / torch.where(highest > 0, highest, 1)


def _check(plane: Tensor, frames: int, neighbourhood: tuple[int, int], temperature: float | Tensor) -> None:
    whole = all(isinstance(size, int) and not isinstance(size, bool) for size in neighbourhood)
    if not whole or not all(1 <= size <= 1023 and size % 2 for size in neighbourhood):
        raise ValueError(f"neighbourhood must be two odd whole numbers in [1, 1023], got {neighbourhood}")
    bins, columns = plane.shape[-2:]
    if columns != frames // 2 + 1 or neighbourhood[0] > bins or neighbourhood[1] > frames:
        raise ValueError(
            f"the half plane must have {frames} // 2 + 1 rates for frames={frames} and hold the "
            f"neighbourhood {neighbourhood}, got {bins} x {columns}"
        )
    if not isinstance(temperature, Tensor):
        positive = 0 <= temperature < math.inf
    else:  # read on a CPU alone: on a GPU it would be a synchronisation, in a graph a break
        unread = temperature.device.type != "cpu" or torch.compiler.is_compiling()
        positive = unread or bool((temperature.detach() > 0).all())
    if not positive:
        raise ValueError(f"temperature must be positive, got {temperature!r}")


def _levels(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Return |S| / S[0, 0], at most 1 for a signal that is not negative, and S[0, 0] `(..., 1, 1)`."""
    top = spectrum[..., :1, :1, 0]
    top = torch.where(top > 0, top, 1)
    return torch.view_as_complex(spectrum).abs() / top, top


def reference(spectrum: Tensor, frames: int, rates: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute P S as its equation is written, the maximum of P, and its index."""
    peaks = peak_map(_levels(spectrum)[0], frames, (1, rates))
    highest, where = peaks.flatten(-2).max(-1)
    return peaks[..., None] * spectrum, highest, where


def reference_gradients(
    d_kept: Tensor, d_highest: Tensor, spectrum: Tensor, out: Tensor, where: Tensor, frames: int, rates: int
) -> Tensor:
    """Compute the gradient to the spectrum; the result `out` is read by the kernel alone.

    With z = (M - mean) / (std + e) at a peak i and its gradient q, an entry j of its neighbourhood of R
    receives q / (std + e) times [i = j] - (1 + z (M_j - mean) / std) / R.
    """
    bins, columns = spectrum.shape[-3:-1]
    m, top = _levels(spectrum)
    near = padded(m, frames, (1, rates))
    m = near.narrow(-1, rates // 2, columns)
    mean, squares = moments(near, (1, rates))
    deviation = _deviation(squares, rates)
    z = torch.where(m == largest(near, (1, rates)), (m - mean) / (deviation + _EPSILON), 0)
    q = (d_kept * spectrum).sum(-1).flatten(-2)
    q = q.scatter_add(-1, where[..., None], d_highest[..., None]).unflatten(-1, (bins, columns))
    q = torch.where(z > 0, q, 0)
    a = q / (deviation + _EPSILON)
    d_top = -(a * z).sum((-2, -1), keepdim=True) * _EPSILON / top
    # Of a column that is its own reflection, one entry of each pair is read for both.
    mirror = (-torch.arange(bins, device=m.device)) % bins
    row = torch.arange(bins, device=m.device)
    weight = torch.where(row < mirror, 1.0, torch.where(row == mirror, 0.5, 0.0)).to(m.dtype)
    symmetric = [0] if frames % 2 or frames == 1 else [0, frames // 2]
    for column in symmetric:
        a[..., column] += a[..., mirror, column]
    slope = torch.where(deviation > 0, z / deviation.masked_fill(deviation <= 0, 1), 0)
    near = [padded(x, frames, (1, rates), symmetric=True) for x in (a, slope, mean)]
    spread = torch.zeros_like(m)
    for offset in range(rates):
        a_i, slope_i, mean_i = (x.narrow(-1, offset, columns) for x in near)
        spread += a_i * (1 + slope_i * (m - mean_i))
    d_m = a - spread / rates
    for column in symmetric:
        d_m[..., column] *= weight
    level = torch.view_as_complex(spectrum).abs()
    pull = torch.where(level > 0, d_m / (top * level.masked_fill(level <= 0, 1)), 0)
    result = z[..., None] * d_kept + pull[..., None] * spectrum
    result[..., 0, 0, 0] += torch.where(spectrum[..., 0, 0, 0] > 0, d_top[..., 0, 0], 0)
    return result


def _empty_peaks(spectrum: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    items = spectrum.shape[:-3]
    highest, where = spectrum.new_empty(items), spectrum.new_empty(items, dtype=torch.int64)
    return spectrum.new_empty(spectrum.shape), highest, where


_peaks = register_operator("local_peaks", reference, kernel="local_peaks_triton.forward", fake=_empty_peaks)
_peaks_backward = register_operator(
    "local_peaks_backward",
    reference_gradients,
    kernel="local_peaks_backward_triton.backward",
    fake=lambda spectrum: spectrum.new_empty(spectrum.shape),
)
register_gradient(_peaks, _peaks_backward, to=("spectrum",), outputs=("out", "highest", "where"))


def kept_peaks(
    spectrum: Tensor,
    frames: int,
    neighbourhood: tuple[int, int] = (1, 25),
    temperature: float | Tensor = 0.0,
) -> tuple[Tensor, Tensor]:
    """Compute the peaks P S of a 2-D spectrum, before P is divided by its maximum, and that maximum.

    P as in `local_peaks`, of M = |S| / S[0, 0]: the sum of a signal that is not negative is the largest
    of its spectrum. The division by max P is left to the reader of the inverse transform: one factor an
    item there, another pass over the plane here.

    Neighbourhoods of one scale and up to 63 rates take the kernel; others, and soft choices, are plain
    torch on any device.

    Args:
        spectrum: `(..., F, N // 2 + 1)`, complex, `torch.fft.rfft2` of a signal that is not negative.
        frames: N.
        neighbourhood: scales and rates, odd, at most the size of the plane.
        temperature: of the choice of peaks, see `local_peaks`; 0 for the hard rule.

    Returns:
        P S, like the spectrum, and max P `(...)`. Gradients as in `local_peaks`.

    Raises:
        ValueError: as `local_peaks`.

    Example:
        >>> import torch
        >>> from torchprim.kernels.ft2d.local_peaks import kept_peaks
        >>> spectrum = torch.fft.rfft2(torch.rand(9, 14))
        >>> kept, highest = kept_peaks(spectrum, 14, (1, 5))
        >>> kept.shape, highest.shape
        (torch.Size([9, 8]), torch.Size([]))
    """
    _check(spectrum, frames, neighbourhood, temperature)
    parts = torch.view_as_real(spectrum.resolve_conj()).contiguous()
    hard = not isinstance(temperature, Tensor) and temperature == 0
    if hard and neighbourhood[0] == 1 and neighbourhood[1] <= LARGEST_RATES:
        kept, highest, _ = _peaks(parts, frames, neighbourhood[1])
        return torch.view_as_complex(kept), highest
    peaks = peak_map(_levels(parts)[0], frames, neighbourhood, temperature)
    return peaks * spectrum, peaks.amax((-2, -1))
