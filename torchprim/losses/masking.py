"""Losses of masks: distance of the masked mixture from magnitudes or from phase-sensitive targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    """Compute the distance of the masked mixture from both sources (mask inference; Luo et al. 2017).

    s mean |m X - V|^p / c + (1 - s) mean |(1 - m) X - A|^p / c, over bins, with c = mean X^p of the item.
    X, V and A are magnitudes, blind to phase: where sources cancel, V may exceed X, which no mask reaches;
    and with p = 1 the best mask is a median, which leaves vocals too quiet. With `phase_sensitive` targets,
    p = 2 is the squared error of the complex spectra instead, up to a constant.

    Args:
        mask: `(B, F, N)` in [0, 1], 1 = vocals.
        mixture: `(B, F, N)`, magnitude.
        vocals: `(B, F, N)`, magnitude or phase-sensitive target.
        accompaniment: `(B, F, N)`, likewise.
        order: p, 1 or 2.
        vocals_share: s, weight of the vocals' error, in [0, 1].

    Returns:
        The mean over the batch, a scalar. An item whose mixture is silent has c = 1.

    Raises:
        ValueError: for a mask that is not real and floating point, shapes that do not fit, or an order or
            share out of range.

    Example:
        >>> import torch, torchprim as tp
        >>> v, a = torch.rand(2, 65, 40), torch.rand(2, 65, 40)
        >>> bool(tp.mask_loss(v / (v + a), v + a, v, a) < 1e-6)
        True
    """
    masked = masked_mixture(mask, mixture, vocals, accompaniment)
    checks.integer(order, "order", 1, 2)
    if not 0 <= checks.number(vocals_share, "vocals_share") <= 1:
        raise ValueError(f"vocals_share must lie in [0, 1], got {vocals_share!r}")

    to_vocals, to_accompaniment = masked - vocals, mixture - masked - accompaniment
    both = vocals_share * _error(to_vocals, order) + (1 - vocals_share) * _error(to_accompaniment, order)
    return (both / divisor(_error(mixture, order))).mean()


def stem_mask_loss(masks: Tensor, mixture: Tensor, sources: Sequence[Tensor], *, order: int = 1) -> Tensor:
    """Compute the mean distance of K masked mixtures from their sources: `mask_loss` of K masks.

    (1 / K) Σ_k mean |m_k X - S_k|^p / c, over bins, with c = mean X^p of the item. Two masks that add up to 1
    have the `mask_loss` of the second with a share of 1/2.

    Args:
        masks: `(B, K, F, N)` in [0, 1].
        mixture: `(B, F, N)`, magnitude.
        sources: K targets `(B, F, N)` in the order of the masks, magnitudes or phase-sensitive.
        order: p, 1 or 2.

    Returns:
        The mean over the batch, a scalar. An item whose mixture is silent has c = 1.

    Raises:
        ValueError: for masks that are not real and floating point, numbers or shapes that do not fit, or an
            order out of range.

    Example:
        >>> import torch
        >>> from torchprim.losses.masking import stem_mask_loss
        >>> sources = torch.rand(4, 2, 65, 40)
        >>> masks = (sources / sources.sum(0)).transpose(0, 1)
        >>> bool(stem_mask_loss(masks, sources.sum(0), list(sources)) < 1e-6)
        True
    """
    masked = masked_mixtures(masks, mixture, sources)
    checks.integer(order, "order", 1, 2)
    errors = sum(_error(estimate - source, order) for estimate, source in zip(masked, sources, strict=True))
    return (errors / divisor(_error(mixture, order))).mean() / len(masked)


def _error(difference: Tensor, order: int) -> Tensor:
    """Compute the mean of |x|^p over the bins of each item."""
    return (difference.abs() if order == 1 else difference.square()).mean((-2, -1))


def masked_mixture(mask: Tensor, mixture: Tensor, vocals: Tensor, accompaniment: Tensor) -> Tensor:
    """Return mask times mixture, `(B, F, N)`, after a check that all four have one shape.

    Raises:
        ValueError: for a mask that is not real and floating point, or shapes that do not fit.
    """
    mask = checks.real(mask, "mask", 3, "(B, F, N)")
    _check_spectra({"mixture": mixture, "vocals": vocals, "accompaniment": accompaniment}, mask, "mask")
    return mask * mixture


def masked_mixtures(masks: Tensor, mixture: Tensor, sources: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return K masks times mixture, each `(B, F, N)`, after a check that all have one shape.

    Raises:
        ValueError: for masks that are not real and floating point, or numbers or shapes that do not fit.
    """
    masks = checks.real(masks, "masks", 4, "(B, K, F, N)")
    if len(sources) != masks.shape[-3]:
        raise ValueError(f"sources must hold one for each mask, {masks.shape[-3]}, got {len(sources)}")
    named = {f"sources[{k}]": source for k, source in enumerate(sources)}
    _check_spectra({"mixture": mixture, **named}, masks[..., 0, :, :], "masks")
    return (masks * mixture.unsqueeze(-3)).unbind(-3)


def _check_spectra(spectra: Mapping[str, Tensor], mask: Tensor, name: str) -> None:
    """Check that spectra, by their names, are tensors on the mask's device and of its shape."""
    for key, value in spectra.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{key} must be a tensor, got {checks.described(value)}")
        checks.same_device(checks.dense(value, key), key, mask, name)
        if value.dtype == torch.bool:
            raise ValueError(f"{key} must be of numbers, got dtype {value.dtype}")
        if value.shape != mask.shape:
            raise ValueError(f"{key} has shape {tuple(value.shape)}, the {name} {tuple(mask.shape)}")


def phase_sensitive(mixture: Tensor, source: Tensor) -> Tensor:
    """Compute the truncated phase-sensitive target of a source (Erdogan et al. 2015).

    |S| cos(∠S - ∠X), the part of S in phase with the mixture, clamped to [0, |X|], the range of a mask in
    [0, 1] times |X|.

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
