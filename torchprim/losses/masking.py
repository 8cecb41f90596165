"""Losses of a mask: distances of magnitudes or of phase-sensitive targets."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim import checks
from torchprim.losses.grams import divisor


def mask_loss(
    mask: Tensor,
    mixture: Tensor,
    vocals: Tensor,
    accompaniment: Tensor,
    *,
    order: int = 1,
    vocals_share: float = 0.5,
) -> Tensor:
    """Distance of the masked mixture from the sources, on magnitudes (mask inference; Luo et al. 2017).

    s mean |m X - V|^p / c + (1 - s) mean |(1 - m) X - A|^p / c, over bins, with c = mean X^p of the item.
    X, V and A are magnitudes, blind to phase: where sources cancel, V may exceed X, which no mask reaches;
    and with p = 1 the best mask is a median, which keeps vocals too quiet. `phase_sensitive` targets with
    p = 2 are the error of the complex spectra instead, up to a constant.

    Args:
        mask: `(B, F, N)` in [0, 1], 1 = vocals.
        mixture: `(B, F, N)`, magnitude.
        vocals: `(B, F, N)`, magnitude or phase-sensitive target.
        accompaniment: `(B, F, N)`, likewise.
        order: p, 1 or 2.
        vocals_share: s, how much the vocals' error counts, in [0, 1].

    Returns:
        The mean over the batch, a scalar.

    Raises:
        ValueError: for shapes that do not fit, or an order or share out of range.

    Example:
        >>> import torch
        >>> from torchprim.losses.masking import mask_loss
        >>> v, a = torch.rand(2, 65, 40), torch.rand(2, 65, 40)
        >>> bool(mask_loss(v / (v + a), v + a, v, a) < 1e-6)
        True
    """
    mask = checks.real(mask, "mask", 3, "(B, F, N)")
    for name, value in (("mixture", mixture), ("vocals", vocals), ("accompaniment", accompaniment)):
        if value.shape != mask.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}, the mask {tuple(mask.shape)}")
    checks.integer(order, "order", 1, 2)
    if not 0 <= vocals_share <= 1:
        raise ValueError(f"vocals_share must lie in [0, 1], got {vocals_share!r}")
    masked = mask * mixture

    def error(difference: Tensor) -> Tensor:
        return (difference.abs() if order == 1 else difference.square()).mean((-2, -1))

    both = vocals_share * error(masked - vocals) + (1 - vocals_share) * error(
        mixture - masked - accompaniment
    )
    return (both / divisor(error(mixture))).mean()


def phase_sensitive(mixture: Tensor, source: Tensor) -> Tensor:
    """What a real mask can reach of a source: its part in phase with the mixture (Erdogan et al. 2015).

    |S| cos(∠S - ∠X), truncated to [0, |X|], so that a mask in [0, 1] meets it.

    Args:
        mixture: `(..., F, N)`, complex.
        source: `(..., F, N)`, complex.

    Returns:
        `(..., F, N)`, real.

    Example:
        >>> import torch
        >>> from torchprim.losses.masking import phase_sensitive
        >>> phase_sensitive(torch.tensor([2 + 0j, 2 + 0j]), torch.tensor([1 + 1j, -1 + 0j]))
        tensor([1., 0.])
    """
    magnitude = mixture.abs()
    in_phase = (source * mixture.conj()).real / divisor(magnitude)
    return torch.minimum(in_phase.clamp(min=0), magnitude)
