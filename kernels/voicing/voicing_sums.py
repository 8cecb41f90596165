"""Sums over frequency of each frame under a comb, for a voicing score."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.register import register_gradient, register_operator

SUMS = 5


def _dense(teeth: Tensor, path: Tensor | None) -> Tensor:
    """Return the teeth of each frame, `(..., K, N)`."""
    if path is None:
        return teeth
    return teeth.index_select(1, path.reshape(-1)).reshape(-1, *path.shape).movedim(0, -2)


def reference(
    magnitude: Tensor,
    weight: Tensor | None,
    comb: Tensor,
    teeth: Tensor,
    path: Tensor | None,
    loudness: Tensor,
    gain: Tensor,
) -> Tensor:
    """Compute the sums one after the other."""
    teeth = _dense(teeth, path)
    heard = magnitude * loudness[:, None]
    power = (magnitude * gain[:, None]).square()
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
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute gradients to magnitude, weight, comb and, where they are given frame by frame, teeth."""
    between, under, on, power, sung = gradient[..., None, :].unbind(-3)
    dense = _dense(teeth, path)
    scaled = magnitude * gain[:, None] ** 2
    to_comb = under + (sung if weight is None else sung * weight)
    d_heard = on * dense.clamp(min=0) - between * dense.clamp(max=0)
    d_magnitude = d_heard * loudness[:, None] + 2 * scaled * (power + comb * to_comb)
    d_weight = magnitude.new_empty(0) if weight is None else comb * scaled * magnitude * sung
    d_comb = scaled * magnitude * to_comb
    if path is not None:
        return d_magnitude, d_weight, d_comb, magnitude.new_empty(0)
    slope = torch.where(dense >= 0, on, 0.0) - torch.where(dense <= 0, between, 0.0)
    return d_magnitude, d_weight, d_comb, magnitude * loudness[:, None] * slope


def _empty_gradients(magnitude: Tensor, weight: Tensor | None, path: Tensor | None) -> tuple[Tensor, ...]:
    needed = (True, weight is not None, True, path is None)
    return tuple(magnitude.new_empty(magnitude.shape if x else 0) for x in needed)


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
register_gradient(_sums, _sums_backward, to=("magnitude", "weight", "comb", "teeth"))


def voicing_sums(
    magnitude: Tensor,
    weight: Tensor | None,
    comb: Tensor,
    teeth: Tensor,
    path: Tensor | None,
    loudness: Tensor,
    gain: Tensor,
) -> Tensor:
    """Sum over frequency A l relu(-t), B c, A l relu(t), B and B c w, with B = (A g)².

    Args:
        magnitude: A, `(..., K, N)`.
        weight: w, `(..., K, N)`, or None for 1.
        comb: c, `(..., K, N)`.
        teeth: t, `(..., K, N)`; with a path, `(K, P)`, of which it is the column of each frame.
        path: `(..., N)`, integers below P, or None.
        loudness: l, `(K,)`.
        gain: g, `(K,)`.

    Returns:
        `(..., 5, N)`. Gradients flow to magnitude, weight, comb, and to teeth where there is no path.

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
    fits = comb.shape == shape and (weight is None or weight.shape == shape)
    if path is None:
        fits = fits and teeth.shape == shape
    else:
        fits = fits and path.shape == (*shape[:-2], shape[-1]) and teeth.shape[:-1] == shape[-2:-1]
    if not fits or loudness.shape != shape[-2:-1] or gain.shape != shape[-2:-1]:
        sizes = [None if x is None else tuple(x.shape) for x in (weight, comb, teeth, path, loudness, gain)]
        raise ValueError(f"weight, comb, teeth, path, loudness, gain do not fit {tuple(shape)}, got {sizes}")
    if path is not None and teeth.requires_grad:
        raise ValueError("teeth receive no gradient beside a path; give those of each frame")
    return _sums(magnitude, weight, comb, teeth, path, loudness, gain)
