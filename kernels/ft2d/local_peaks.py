"""Peaks of a 2-D Fourier magnitude that stand out from their neighbourhood."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.dispatch import takes_kernel
from torchprim.kernels.ft2d.neighbourhood import around, largest, moments

_EPSILON = 1e-7
LARGEST_RATES = 63  # a wider neighbourhood takes plain torch


def _deviation(squares: Tensor, count: int) -> Tensor:
    """Standard deviation; a flat neighbourhood is given a gradient of 0, not the root's infinite one."""
    variance = squares / count
    flat = variance <= 0
    return variance.masked_fill(flat, 1).sqrt().masked_fill(flat, 0)


def peak_map(
    m: Tensor, frames: int, neighbourhood: tuple[int, int], temperature: float | Tensor = 0.0
) -> Tensor:
    """P before it is divided by its maximum, in plain torch: what autograd differentiates."""
    bins, kept = m.shape[-2:]
    scales, rates = (size // 2 for size in neighbourhood)
    near = around(m, frames, neighbourhood)
    # The middle: `m`, but with its own reflections equal to the last bit.
    m = near.narrow(-2, scales, bins).narrow(-1, rates, kept)
    mean, squares = moments(near, neighbourhood)
    deviation = _deviation(squares, neighbourhood[0] * neighbourhood[1]) + _EPSILON
    if not isinstance(temperature, Tensor) and temperature == 0:
        # A flat neighbourhood has no peak: its score is 0, and the slope of that is not 1e7.
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
    """How far each local maximum of a 2-D Fourier magnitude stands out from its surroundings.

    P = (M - mean) / (std + 1e-7) where M equals the maximum of its neighbourhood, else 0, with mean and
    standard deviation over the neighbourhood, which wraps round the plane; then P / max P
    (Seetharaman, Pishdadian and Pardo 2017). The plane of a real signal is point-symmetric about zero,
    and so is the result.

    With a temperature T above 0, the choice is soft: P = 2 sigmoid((M - max) / (T (std + 1e-7))) times
    the score max(0, (M - mean) / (std + 1e-7)), max being that of the neighbourhood. The weight is 1 at a
    peak; for T -> 0 it is 0 elsewhere, which is the rule above. This is plain torch on any device;
    `kept_peaks` has the kernel.

    Args:
        m: `(..., F, N // 2 + 1)`, all F scales and the rates 0 .. N // 2 of a real 2-D transform, scaled
            to a maximum of 1. The other rates are point reflections of these.
        frames: number of rates N of the whole plane.
        neighbourhood: scales and rates, odd, at most the size of the plane.
        temperature: in standard deviations of the neighbourhood; 0 for the hard rule. A tensor of one
            number receives a gradient.

    Returns:
        `(..., F, N // 2 + 1)` in [0, 1]. The gradient of the hard rule flows through the values of the
        peaks; which entries are peaks, and which is the largest, are taken as fixed choices.

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
    if not all(isinstance(size, int) and 1 <= size <= 1023 and size % 2 for size in neighbourhood):
        raise ValueError(f"neighbourhood must be two odd whole numbers in [1, 1023], got {neighbourhood}")
    bins, kept = plane.shape[-2:]
    if kept != frames // 2 + 1 or neighbourhood[0] > bins or neighbourhood[1] > frames:
        raise ValueError(
            f"the half plane must have {frames} // 2 + 1 rates for frames={frames} and hold the "
            f"neighbourhood {neighbourhood}, got {bins} x {kept}"
        )
    if not isinstance(temperature, Tensor) and not temperature >= 0:
        raise ValueError(f"temperature must be 0 or positive, got {temperature!r}")


def _levels(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """|S| / S[0, 0] and the latter, `(..., 1, 1)`: no entry of a non-negative signal's plane is larger."""
    top = spectrum[..., :1, :1, 0]
    top = torch.where(top > 0, top, 1)
    return torch.view_as_complex(spectrum).abs() / top, top


def reference(spectrum: Tensor, frames: int, rates: int) -> tuple[Tensor, Tensor, Tensor]:
    """P S as its equation is written, the maximum of P, and where it is."""
    peaks = peak_map(_levels(spectrum)[0], frames, (1, rates))
    highest, where = peaks.flatten(-2).max(-1)
    return peaks[..., None] * spectrum, highest, where


def reference_gradients(
    d_kept: Tensor, d_highest: Tensor, spectrum: Tensor, out: Tensor, where: Tensor, frames: int, rates: int
) -> Tensor:
    """Gradient to the spectrum; of the result `out` it needs nothing.

    With z = (M - mean) / (std + e) at a peak i and its gradient q, an entry j of its neighbourhood of R
    receives q / (std + e) times [i = j] - (1 + z (M_j - mean) / std) / R.
    """
    bins, kept = spectrum.shape[-3:-1]
    m, top = _levels(spectrum)
    near = around(m, frames, (1, rates))
    m = near.narrow(-1, rates // 2, kept)
    mean, squares = moments(near, (1, rates))
    deviation = _deviation(squares, rates)
    z = torch.where(m == largest(near, (1, rates)), (m - mean) / (deviation + _EPSILON), 0)
    q = (d_kept * spectrum).sum(-1).flatten(-2)
    q = q.scatter_add(-1, where[..., None], d_highest[..., None]).unflatten(-1, (bins, kept))
    q = torch.where(z > 0, q, 0)
    a = q / (deviation + _EPSILON)
    d_top = -(a * z).sum((-2, -1), keepdim=True) * _EPSILON / top
    # Entries of a column that is its own reflection are read once for two places.
    mirror = (-torch.arange(bins, device=m.device)) % bins
    row = torch.arange(bins, device=m.device)
    once = torch.where(row < mirror, 1.0, torch.where(row == mirror, 0.5, 0.0)).to(m.dtype)
    own = [0] if frames % 2 or frames == 1 else [0, frames // 2]
    for column in own:
        a[..., column] += a[..., mirror, column]
    slope = torch.where(deviation > 0, z / deviation.masked_fill(deviation <= 0, 1), 0)
    near = [around(x, frames, (1, rates), symmetric=True) for x in (a, slope, mean)]
    spread = torch.zeros_like(m)
    for offset in range(rates):
        a_i, slope_i, mean_i = (x.narrow(-1, offset, kept) for x in near)
        spread += a_i * (1 + slope_i * (m - mean_i))
    d_m = a - spread / rates
    for column in own:
        d_m[..., column] *= once
    level = torch.view_as_complex(spectrum).abs()
    pull = torch.where(level > 0, d_m / (top * level.masked_fill(level <= 0, 1)), 0)
    result = z[..., None] * d_kept + pull[..., None] * spectrum
    result[..., 0, 0, 0] += torch.where(spectrum[..., 0, 0, 0] > 0, d_top[..., 0, 0], 0)
    return result


@torch.library.custom_op("torchprim::local_peaks", mutates_args=())
def _peaks(spectrum: Tensor, frames: int, rates: int) -> tuple[Tensor, Tensor, Tensor]:
    if takes_kernel(spectrum):
        from torchprim.kernels.ft2d import local_peaks_triton

        return local_peaks_triton.forward(spectrum, frames, rates)
    return reference(spectrum, frames, rates)


@_peaks.register_fake
def _(spectrum, frames, rates):
    items = spectrum.shape[:-3]
    return (
        torch.empty_like(spectrum),
        spectrum.new_empty(items),
        spectrum.new_empty(items, dtype=torch.int64),
    )


@torch.library.custom_op("torchprim::local_peaks_backward", mutates_args=())
def _peaks_backward(
    d_kept: Tensor, d_highest: Tensor, spectrum: Tensor, out: Tensor, where: Tensor, frames: int, rates: int
) -> Tensor:
    if takes_kernel(d_kept, d_highest, spectrum):
        from torchprim.kernels.ft2d import local_peaks_backward_triton

        return local_peaks_backward_triton.backward(d_kept, d_highest, spectrum, out, where, frames, rates)
    return reference_gradients(d_kept, d_highest, spectrum, out, where, frames, rates)


@_peaks_backward.register_fake
def _(d_kept, d_highest, spectrum, out, where, frames, rates):
    return torch.empty_like(spectrum)


def _remember(ctx, inputs, output):
    spectrum, ctx.frames, ctx.rates = inputs
    ctx.save_for_backward(spectrum, output[0], output[2])


def _gradients(ctx, d_kept, d_highest, _):
    return _peaks_backward(d_kept, d_highest, *ctx.saved_tensors, ctx.frames, ctx.rates), None, None


_peaks.register_autograd(_gradients, setup_context=_remember)


def kept_peaks(
    spectrum: Tensor,
    frames: int,
    neighbourhood: tuple[int, int] = (1, 25),
    temperature: float | Tensor = 0.0,
) -> tuple[Tensor, Tensor]:
    """The peaks P S of a 2-D spectrum, before P is divided by its maximum, and that maximum.

    P as in `local_peaks`, of M = |S| / S[0, 0]: the sum of a signal that is not negative is the largest
    of its spectrum. The division by max P is left to what reads the inverse transform: a factor for each
    item there, another reading of the plane here.

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
