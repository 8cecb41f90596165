"""Inputs of the salience: spectral peaks on a logarithmic axis, and the level for the combs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchprim.kernels.register import register_gradient, register_operator
from torchprim.kernels.scale import bin_factors, scale_gradient

PLACES = 120  # of an octave: 10 cents each
FLOOR = 1e-10  # of a magnitude, before its logarithm
POWER = 1.1  # of a peak's height
RANGE = 1e-2  # 40 dB: threshold of a frame's peaks, relative to the highest
LEAST_WEIGHT = 1e-6  # the fourth root has no finite derivative at 0
OFFSET = 1e-6  # -120 dB of the loudest bin: the root has no finite derivative at 0


def _parabola(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Return offsets of the local maxima from their bins, and their heights; row k belongs to bin k + 1."""
    level = spectrum.clamp(min=FLOOR).log()
    level = torch.nn.functional.pad(level, (0, 0, 0, 2), value=math.log(FLOOR))
    below, here, above = level[..., :-2, :], level[..., 1:-1, :], level[..., 2:, :]
    peak = (here >= below) & (here > above)
    curvature = torch.where(peak, below - 2 * here + above, -1.0)
    shift = torch.where(peak, 0.5 * (below - above) / curvature, 0.0)
    return shift, torch.where(peak, (here - 0.25 * (below - above) * shift).exp(), 0.0)


def peaks(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Find positions in bins and heights of the local maxima over frequency, 0 where there is none.

    A parabola through the log magnitudes of three bins (Smith and Serra 1987).

    Args:
        spectrum: `(..., F, N)`, not negative.

    Returns:
        Two tensors `(..., F, N)`: row k holds the peak at bin k + 1.

    Example:
        >>> import torch
        >>> from torchprim.kernels.salience.salience_inputs import peaks
        >>> place, height = peaks(torch.tensor([[0.0], [1.0], [4.0], [2.0], [0.0]]))
        >>> round(place[1].item(), 3), round(height[1].item(), 3)
        (2.167, 4.117)
    """
    shift, height = _parabola(spectrum)
    return _bins(spectrum) + shift, height


def _bins(spectrum: Tensor) -> Tensor:
    return torch.arange(1, spectrum.shape[-2] + 1, dtype=spectrum.dtype, device=spectrum.device)[:, None]


def _strengths(
    spectrum: Tensor, weight: Tensor | None, ratio: float, places: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return strength and place on the axis of each peak, and its offset; row k belongs to bin k + 1."""
    shift, height = _parabola(spectrum)
    height = torch.where(height > height.amax(-2, keepdim=True) * RANGE, height, 0.0)
    if weight is not None:
        height = height * torch.nn.functional.pad(weight[..., 1:, :], (0, 0, 0, 1))
    place = (torch.log2((_bins(spectrum) + shift) * ratio) * PLACES).round()
    valid = (height > 0) & (place >= 0) & (place < places)
    # The derivative of x^1.1 at 0 is 0, but autograd makes NaN of it through the logarithm.
    strength = torch.where(valid, torch.where(valid, height, 1.0) ** POWER, 0.0)
    return strength, place.clamp(0, places - 1).long(), shift


def _fourth_root(weight: Tensor | None, like: Tensor) -> Tensor | None:
    """Return the fourth root of a weight, clamped, in the dtype of `like`."""
    return None if weight is None else weight.to(like.dtype).clamp(min=LEAST_WEIGHT).sqrt().sqrt()


def peak_axis(spectrum: Tensor, weight: Tensor | None, ratio: float, places: int) -> Tensor:
    """Scatter peaks within 40 dB of their frame's highest to an axis of 10 cents a place, `(..., places, N)`.

    Args:
        spectrum: `(..., F, N)`, not negative.
        weight: `(..., F, N)`, factor of the peaks, applied after the threshold.
        ratio: distance of two bins over the frequency of place 0.
        places: of the axis.
    """
    strength, place, _ = _strengths(spectrum, weight, ratio, places)
    axis = strength.new_zeros(*strength.shape[:-2], places, strength.shape[-1])
    return axis.scatter_add(-2, place, strength)


def comb_level(spectrum: Tensor, weight: Tensor | None) -> Tensor:
    """Return the square root of a spectrum times a weight, which the combs are correlated with."""
    level = (spectrum + OFFSET).sqrt() - math.sqrt(OFFSET)
    return level if weight is None else level * weight


def reference(
    magnitude: Tensor,
    gain: Tensor,
    weight: Tensor | None,
    scale: Tensor,
    ratio: float,
    peak_bins: int,
    places: int,
) -> tuple[Tensor, Tensor]:
    """Compute the axis of peaks and the level."""
    heard = magnitude * bin_factors(gain, scale)
    root = _fourth_root(weight, magnitude)
    weight = None if root is None else root[..., :peak_bins, :]
    return peak_axis(heard[..., :peak_bins, :], weight, ratio, places), comb_level(heard, root)


def reference_gradients(
    d_axis: Tensor,
    d_level: Tensor,
    magnitude: Tensor,
    gain: Tensor,
    weight: Tensor | None,
    scale: Tensor,
    ratio: float,
    peak_bins: int,
    to_scale: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute gradients to magnitude, weight and scale; the bins of peaks and their places are fixed.

    With the log levels a, b, c of three bins and s the peak's offset, its log height has the derivatives
    (s² - s) / 2, 1 - s² and (s² + s) / 2.
    """
    factors = bin_factors(gain, scale)
    heard = magnitude * factors
    root = _fourth_root(weight, magnitude)
    low = heard[..., :peak_bins, :]
    strength, place, s = _strengths(
        low, None if root is None else root[..., :peak_bins, :], ratio, d_axis.shape[-2]
    )
    slope = POWER * strength * d_axis.gather(-2, place)  # to the logarithm of a peak's height
    d_low = slope.new_zeros(*slope.shape[:-2], peak_bins + 2, slope.shape[-1])
    d_low[..., :-2, :] += slope * 0.5 * (s * s - s)
    d_low[..., 1:-1, :] += slope * (1 - s * s)
    d_low[..., 2:, :] += slope * 0.5 * (s * s + s)
    d_low = torch.where(low >= FLOOR, d_low[..., :peak_bins, :] / low, 0.0)
    sqrt = (heard + OFFSET).sqrt()
    d_heard = 0.5 * d_level / sqrt if root is None else 0.5 * d_level * root / sqrt
    d_heard[..., :peak_bins, :] += d_low
    d_magnitude = d_heard * factors
    d_scale = scale_gradient(d_magnitude, magnitude, scale, to_scale)
    if root is None:
        return d_magnitude, d_heard.new_empty(0), d_scale
    d_root = d_level * (sqrt - math.sqrt(OFFSET))
    d_root[..., 1:peak_bins, :] += slope[..., : peak_bins - 1, :] / root[..., 1:peak_bins, :]
    weight = weight.to(root.dtype)
    d_weight = torch.where(weight >= LEAST_WEIGHT, 0.25 * d_root * root / weight, 0.0)
    return d_magnitude, d_weight, d_scale


def _empty_inputs(magnitude: Tensor, places: int) -> tuple[Tensor, Tensor]:
    axis = magnitude.new_empty(*magnitude.shape[:-2], places, magnitude.shape[-1])
    return axis, magnitude.new_empty(magnitude.shape)


def _empty_gradients(
    magnitude: Tensor, weight: Tensor | None, scale: Tensor, to_scale: bool
) -> tuple[Tensor, Tensor, Tensor]:
    shapes = (magnitude.shape, 0 if weight is None else magnitude.shape, scale.shape if to_scale else 0)
    d_magnitude, d_weight, d_scale = (magnitude.new_empty(shape) for shape in shapes)
    return d_magnitude, d_weight, d_scale


_inputs = register_operator(
    "salience_inputs", reference, kernel="salience_inputs_triton.forward", fake=_empty_inputs
)
_inputs_backward = register_operator(
    "salience_inputs_backward",
    reference_gradients,
    kernel="salience_inputs_backward_triton.backward",
    fake=_empty_gradients,
)
register_gradient(_inputs, _inputs_backward, to=("magnitude", "weight", "scale"))


def salience_inputs(
    magnitude: Tensor,
    gain: Tensor,
    weight: Tensor | None,
    ratio: float,
    peak_bins: int,
    places: int,
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute spectral peaks on a logarithmic axis, and the square root of a spectrum, from one read of it.

    H = A g s is the weighted magnitude. Axis: the local maxima of H, with heights h between bins from a
    parabola through log H (Smith and Serra 1987), within 40 dB of their frame's highest, each at the place
    nearest to its frequency: (h w^¼)^1.1, summed where several share a place (Salamon and Gómez 2012).
    Level: ((H + 10⁻⁶)^½ - 10⁻³) w^¼.

    Args:
        magnitude: `(..., F, N)`, not negative; times the scale, its loudest bin is near 1.
        gain: `(F,)`, of each bin; receives no gradient.
        weight: `(..., F, N)`, or None for 1; clamped to 10⁻⁶ or more.
        ratio: distance of two bins over the frequency of place 0.
        peak_bins: only bins below this have peaks; above it all counts as silent.
        places: of the axis, 10 cents apart.
        scale: `(...)`, above 0, factor of an item's magnitude; None for 1.

    Returns:
        Axis `(..., places, N)` and level `(..., F, N)`. Gradients flow to magnitude, weight and scale
        through heights and levels; the bins of peaks and their places are fixed.

    Example:
        >>> import torch
        >>> from torchprim.kernels.salience.salience_inputs import salience_inputs
        >>> tone = torch.tensor([0.0, 0.0, 0.5, 1.0, 0.5, 0.0])[:, None]
        >>> axis, level = salience_inputs(tone, torch.ones(6), None, 1.0, 6, 240)
        >>> axis.argmax().item(), round(axis.max().item(), 3)  # 120 log2 3, and 1
        (190, 1.0)
    """
    if weight is not None:
        weight = weight.expand_as(magnitude)
    if scale is None:
        scale = magnitude.new_ones(magnitude.shape[:-2])
    return _inputs(magnitude, gain, weight, scale, ratio, min(peak_bins, magnitude.shape[-2]), places)
