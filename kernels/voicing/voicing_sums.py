"""Sums over frequency of each frame under a comb, for a voicing score."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.register import register_gradient, register_operator
from torchprim.kernels.scale import bin_factors, scale_gradient
from torchprim.kernels.voicing.columns import add_columns, gather_columns

SUMS = 5


def _tables(comb: Tensor, teeth: Tensor, path: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return comb and teeth of each frame, `(..., K, N)`."""
    if path is None:
        return comb, teeth
    return gather_columns(comb, path), gather_columns(teeth, path)


def reference(
    magnitude: Tensor,
    weight: Tensor | None,
    comb: Tensor,
    teeth: Tensor,
    path: Tensor | None,
    loudness: Tensor,
    gain: Tensor,
    scale: Tensor,
) -> Tensor:
    """Compute the sums one after the other."""
    comb, teeth = _tables(comb, teeth, path)
    heard = magnitude * bin_factors(loudness, scale)
    power = (magnitude * bin_factors(gain, scale)).square()
    under = comb * power
    sung = under if weight is None else under * weight
    parts = (-teeth.clamp(max=0) * heard, under, teeth.clamp(min=0) * heard, power, sung)
    return torch.stack([part.sum(-2) for part in parts], -2)


def reference_gradients(
    gradient: Tensor,
    magnitude: Tensor,
    weight: Tensor | None,
    comb: Tensor,
    teeth: Tensor,
    path: Tensor | None,
    loudness: Tensor,
    gain: Tensor,
    scale: Tensor,
    to_comb: bool,
    to_scale: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Compute gradients to magnitude, weight, comb, scale and, where they are given frame by frame, teeth."""
    between, under, on, power, sung = gradient[..., None, :].unbind(-3)
    dense, dense_teeth = _tables(comb, teeth, path)
    scaled = magnitude * bin_factors(gain, scale) ** 2
    to_power = under + (sung if weight is None else sung * weight)  # through the comb
    d_heard = on * dense_teeth.clamp(min=0) - between * dense_teeth.clamp(max=0)
    d_magnitude = d_heard * bin_factors(loudness, scale) + 2 * scaled * (power + dense * to_power)
    d_weight, d_comb, d_teeth = (magnitude.new_empty(0) for _ in range(3))
    if weight is not None:
        d_weight = dense * scaled * magnitude * sung
    if to_comb:
        d_comb = scaled * magnitude * to_power
        d_comb = d_comb if path is None else add_columns(d_comb, path, comb.shape[1])
    if path is None:
        slope = torch.where(teeth >= 0, on, 0.0) - torch.where(teeth <= 0, between, 0.0)
        d_teeth = magnitude * bin_factors(loudness, scale) * slope
    return d_magnitude, d_weight, d_comb, d_teeth, scale_gradient(d_magnitude, magnitude, scale, to_scale)


def _empty_gradients(
    magnitude: Tensor,
    weight: Tensor | None,
    comb: Tensor,
    path: Tensor | None,
    scale: Tensor,
    to_comb: bool,
    to_scale: bool,
) -> tuple[Tensor, ...]:
    shapes = (
        magnitude.shape,
        0 if weight is None else magnitude.shape,
        comb.shape if to_comb else 0,
        magnitude.shape if path is None else 0,
        scale.shape if to_scale else 0,
    )
    return tuple(magnitude.new_empty(shape) for shape in shapes)


_sums = register_operator(
    "voicing_sums",
    reference,
    kernel="voicing_sums_triton.forward",
    fake=lambda magnitude: magnitude.new_empty(*magnitude.shape[:-2], SUMS, magnitude.shape[-1]),
)
_sums_backward = register_operator(
    "voicing_sums_backward",
    reference_gradients,
    kernel="voicing_sums_triton.backward",
    fake=_empty_gradients,
)
register_gradient(_sums, _sums_backward, to=("magnitude", "weight", "comb", "teeth", "scale"))


def voicing_sums(
    magnitude: Tensor,
    weight: Tensor | None,
    comb: Tensor,
    teeth: Tensor,
    path: Tensor | None,
    loudness: Tensor,
    gain: Tensor,
    scale: Tensor | None = None,
) -> Tensor:
    """Sum over frequency A l relu(-t), B c, A l relu(t), B and B c w, with B = (A g)².

    Args:
        magnitude: `(..., K, N)`; A is the magnitude times the scale.
        weight: w, `(..., K, N)`, or None for 1.
        comb: c, `(..., K, N)`; with a path, a table `(K, P)`, of which it is the column of each frame.
        teeth: t, like the comb.
        path: `(..., N)`, integers below P, or None.
        loudness: l, `(K,)`.
        gain: g, `(K,)`.
        scale: `(...)`, above 0, factor of an item's magnitude; None for 1.

    Returns:
        `(..., 5, N)`. Gradients flow to magnitude, weight, comb, scale, and to teeth where there is no path.

    Raises:
        ValueError: for shapes that do not fit, and for teeth that need a gradient beside a path.

    Example:
        >>> import torch
        >>> from torchprim.kernels.voicing.voicing_sums import voicing_sums
        >>> one = torch.ones(3, 1)
        >>> teeth = torch.tensor([[1.0], [-0.5], [1.0]])
        >>> voicing_sums(2 * one, None, 0.5 * one, teeth, None, one[:, 0], one[:, 0]).flatten().tolist()
        [1.0, 6.0, 4.0, 12.0, 6.0]
    """
    shape = magnitude.shape
    if scale is None:
        scale = magnitude.new_ones(shape[:-2])
    fits = weight is None or weight.shape == shape
    if path is None:
        fits = fits and comb.shape == shape and teeth.shape == shape
    else:
        tables = comb.dim() == 2 and comb.shape == teeth.shape and len(comb) == shape[-2]
        fits = fits and path.shape == (*shape[:-2], shape[-1]) and tables
    rows = loudness.shape == shape[-2:-1] and gain.shape == shape[-2:-1] and scale.shape == shape[:-2]
    if not (fits and rows):
        tensors = (weight, comb, teeth, path, loudness, gain, scale)
        sizes = [None if x is None else tuple(x.shape) for x in tensors]
        names = "weight, comb, teeth, path, loudness, gain, scale"
        raise ValueError(f"{names} do not fit {tuple(shape)}, got {sizes}")
    if path is not None and teeth.requires_grad:
        raise ValueError("teeth receive no gradient beside a path; give those of each frame")
    return _sums(magnitude, weight, comb, teeth, path, loudness, gain, scale)
