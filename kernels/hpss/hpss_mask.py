"""Mask of harmonic-percussive separation: two running medians and their ratio, in one operator."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchprim.kernels.hpss import sliding_median
from torchprim.kernels.mask_dtype import mask_dtype
from torchprim.kernels.register import register_gradient, register_operator


def power_ratio(a: Tensor, b: Tensor, power: float | Tensor) -> Tensor:
    """Return a^p / (a^p + b^p), 1/2 where both are 0; scaled by the larger: no power over- or underflows."""
    largest = torch.maximum(a, b).detach()
    scale = torch.where(largest > 0, largest, 1)
    a, b = (a / scale) ** power, (b / scale) ** power
    both = a + b
    return torch.where(both > 0, a / torch.where(both > 0, both, 1), 0.5)


def _medians(magnitude: Tensor, over_frames: int, over_bins: int) -> tuple[Tensor, Tensor]:
    return (
        sliding_median.reference(magnitude, over_frames, -1),
        sliding_median.reference(magnitude, over_bins, -2),
    )


def reference(
    magnitude: Tensor, power: Tensor, gain: Tensor, over_frames: int, over_bins: int, dtype: torch.dtype
) -> Tensor:
    """Compute the mask as its equation is written."""
    magnitude = magnitude.to(gain.dtype)
    # A plain number lets torch square where p = 2; on a GPU it would be a synchronisation.
    exponent = power.item() if power.device.type == "cpu" else power
    mask = power_ratio(*_medians(magnitude, over_frames, over_bins), exponent)
    return torch.where(magnitude > 0, mask * gain[:, None], 0).to(dtype).contiguous()


def _slopes(
    gradient: Tensor, harmonic: Tensor, percussive: Tensor, power: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return H^p / (H^p + P^p), and `gradient` times its derivatives to H, to P and to p.

    With L the larger and S the smaller of the two, r = S / L and w = 1 / (1 + r^p)²:
    d/dL = +-p r^p w / L, d/dS = -+p r^(p-1) w / L, d/dp = -+r^p ln(r) w, the upper sign where H is L.
    Where both are 0, and to S = 0 where p < 1, which has no slope there, it is 0 by convention.
    """
    larger, smaller = torch.maximum(harmonic, percussive), torch.minimum(harmonic, percussive)
    above = harmonic >= percussive
    ratio = torch.where(larger > 0, smaller / larger, 1)
    raised = ratio**power
    lowered = torch.where(ratio > 0, raised / torch.where(ratio > 0, ratio, 1), (power == 1).to(ratio.dtype))
    mask = torch.where(above, 1, raised) / (1 + raised)
    signed = torch.where(above, gradient, -gradient) / (1 + raised).square()
    to_power = -signed * torch.xlogy(raised, ratio)
    signed = torch.where(larger > 0, signed * power / larger, 0)
    to_larger, to_smaller = signed * raised, -signed * lowered
    return (
        mask,
        torch.where(above, to_larger, to_smaller),
        torch.where(above, to_smaller, to_larger),
        to_power,
    )


def reference_gradients(
    gradient: Tensor,
    magnitude: Tensor,
    power: Tensor,
    gain: Tensor,
    over_frames: int,
    over_bins: int,
    to_magnitude: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute gradients to magnitude (empty unless needed), power and gain; medians are recomputed."""
    dtype, magnitude = magnitude.dtype, magnitude.to(gain.dtype)
    harmonic, percussive = _medians(magnitude, over_frames, over_bins)
    gradient = torch.where(magnitude > 0, gradient, 0)
    mask, d_harmonic, d_percussive, d_power = _slopes(gradient * gain[:, None], harmonic, percussive, power)
    d_gain = (gradient * mask).sum(-1).reshape(-1, gain.numel()).sum(0)
    if not to_magnitude:
        return magnitude.new_empty(0, dtype=dtype), d_power.sum().reshape(()), d_gain
    d_magnitude = sliding_median.reference_gradient(d_harmonic, magnitude, harmonic, over_frames, -1)
    d_magnitude += sliding_median.reference_gradient(d_percussive, magnitude, percussive, over_bins, -2)
    return d_magnitude.to(dtype), d_power.sum().reshape(()), d_gain


def _empty_gradients(magnitude: Tensor, power: Tensor, gain: Tensor, to_magnitude: bool):
    shape = magnitude.shape if to_magnitude else (0,)
    return magnitude.new_empty(shape), power.new_empty(()), gain.new_empty(gain.shape)


def _kernel_fits(magnitude: Tensor, over_frames: int, over_bins: int) -> bool:
    windows = ((over_frames, -1), (over_bins, -2))
    items = math.prod(magnitude.shape[:-2])
    return items < 2**16 and all(sliding_median.kernel_fits(magnitude, *window) for window in windows)


_mask = register_operator(
    "hpss_mask",
    reference,
    kernel="hpss_mask_triton.forward",
    fake=lambda magnitude, dtype: magnitude.new_empty(magnitude.shape, dtype=dtype),
    fits=_kernel_fits,
)
_mask_backward = register_operator(
    "hpss_mask_backward",
    reference_gradients,
    kernel="hpss_mask_triton.backward",
    fake=_empty_gradients,
    fits=_kernel_fits,
)
register_gradient(_mask, _mask_backward, to=("magnitude", "power", "gain"))


def hpss_mask(
    magnitude: Tensor,
    over_frames: int,
    over_bins: int,
    power: float | Tensor = 2.0,
    gain: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Compute g(f) · H^p / (H^p + P^p), 0 where A = 0, with the running medians H over frames, P over bins.

    FitzGerald, Harmonic/percussive separation using median filtering, DAFx 2010. The medians are those of
    `sliding_median`. Where both are 0, but A is not, the ratio is 1/2.

    Args:
        magnitude: A `(..., F, N)`, real, not negative; half precision is loaded as it is.
        over_frames: samples of the median H, 1 to 1023.
        over_bins: samples of the median P, 1 to 1023.
        power: exponent p, positive; a tensor of one number receives a gradient, and is not checked.
        gain: g `(F,)`, of each bin, such as a high-pass; 1 by default.
        dtype: in which the mask is stored, float16 or float32; that of the arithmetic by default.

    Returns:
        `(..., F, N)`, by default float32, or float64 for a magnitude of float64. Gradients flow to the
        magnitude (each median's to the selected sample, of equal ones to that of the lowest index), the power
        and the gain.

    Raises:
        ValueError: for a magnitude that is not real or is empty, a window out of range, a power that is not
            positive, a gain of another shape, or float16 where a gradient is needed.

    Example:
        >>> import torch
        >>> from torchprim.kernels.hpss.hpss_mask import hpss_mask
        >>> magnitude = torch.zeros(9, 9)
        >>> magnitude[4] = 1.0  # a steady tone
        >>> hpss_mask(magnitude, 5, 5)[3:6, 0].tolist()
        [0.0, 1.0, 0.0]
    """
    if not isinstance(magnitude, Tensor) or not magnitude.is_floating_point() or magnitude.dim() < 2:
        raise ValueError(f"magnitude must be a real tensor of shape (..., F, N), got {magnitude!r}")
    if magnitude.numel() == 0 and 0 in magnitude.shape[-2:]:
        raise ValueError(f"magnitude must not be empty, got shape {tuple(magnitude.shape)}")
    sliding_median.check_window(over_frames, "over_frames")
    sliding_median.check_window(over_bins, "over_bins")
    if not isinstance(power, Tensor) and not 0 < power < math.inf:
        raise ValueError(f"power must be positive, got {power!r}")
    own = torch.float64 if magnitude.dtype == torch.float64 else torch.float32
    bins = magnitude.shape[-2]
    if gain is None:
        gain = torch.ones(bins, dtype=own, device=magnitude.device)
    elif gain.shape != (bins,):
        raise ValueError(f"gain must have shape ({bins},), got {tuple(gain.shape)}")
    gain = gain.to(own)
    if not isinstance(power, Tensor):
        power = torch.full((), power, dtype=own, device=magnitude.device)
    elif power.numel() != 1:
        raise ValueError(f"power must be one number, got shape {tuple(power.shape)}")
    dtype = mask_dtype(dtype, own, magnitude, power, gain)
    return _mask(magnitude, power.reshape(()).to(gain), gain, over_frames, over_bins, dtype)
