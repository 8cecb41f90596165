"""A correction of a mask that keeps the energy of what it lets through."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.networks.features import root_mean_square

_STEPS = 6  # of Newton's method; the energy is then kept to 1e-4
_LARGEST_STEP = 2.0  # in units of the logit: far out the sigmoid is flat, and a step of no use


def keep_energy(logits: Tensor, correction: Tensor, magnitude: Tensor) -> Tensor:
    """Add a correction to a mask's logits, and the constant that keeps the energy of the masked mixture.

    M' = sigmoid(L + Z + o), with the offset o of each item such that Σ A² M' = Σ A² sigmoid(L). The
    correction can move sound between the sources, not make one of them louder altogether. A network that
    learns from estimates needs that: the voice that its teacher missed is absent from the remixes, so on a
    song it would take what is left of it for accompaniment, too, and turn a voice down the more, the less of
    it was found (measured in docs/training.md).

    The gradient is that of the solution (by the implicit function theorem), from one more Newton step.

    Args:
        logits: L, `(..., F, N)`.
        correction: Z, likewise.
        magnitude: A, likewise, at any level.

    Returns:
        L + Z + o, `(..., F, N)`.

    Example:
        >>> import torch
        >>> from torchprim.networks.energy import keep_energy
        >>> magnitude, logits = torch.rand(65, 40), torch.randn(65, 40)
        >>> mask = torch.sigmoid(keep_energy(logits, 3 + torch.randn(65, 40), magnitude))
        >>> energy = [(magnitude.square() * m).sum() for m in (mask, torch.sigmoid(logits))]
        >>> bool((energy[0] / energy[1] - 1).abs() < 1e-4)
        True
    """
    weights = (magnitude / root_mean_square(magnitude)).square()
    wanted = (weights * torch.sigmoid(logits)).sum((-2, -1), keepdim=True)
    corrected = logits + correction
    offset = torch.zeros_like(wanted)
    with torch.no_grad():
        for _ in range(_STEPS):
            offset = offset + _newton_step(corrected + offset, weights, wanted)
    return corrected + (offset + _newton_step(corrected + offset, weights, wanted))


def _newton_step(logits: Tensor, weights: Tensor, wanted: Tensor) -> Tensor:
    """Compute the change of the offset; its gradient treats the slope as a constant. 0 for silence."""
    mask = torch.sigmoid(logits)
    slope = (weights * mask * (1 - mask)).sum((-2, -1), keepdim=True).detach()
    excess = (weights * mask).sum((-2, -1), keepdim=True) - wanted
    return (-excess / torch.where(slope > 0, slope, 1)).clamp(-_LARGEST_STEP, _LARGEST_STEP)
