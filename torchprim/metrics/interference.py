"""SI-SIR and SI-SAR: the distortion of SI-SDR, split into interference of other sources and artifacts.

The projection P e on the span of all sources splits the error of an estimate e of source j, a = <s_j, e> /
|s_j|²: e - a s_j = (P e - a s_j) + (e - P e), interference and artifacts, at right angles. So
10^(-SI-SDR / 10) = 10^(-SI-SIR / 10) + 10^(-SI-SAR / 10) (Le Roux et al. 2019, section 2.1). Zero-mean
signals, whole tracks, float64, and silence as in `torchprim.metrics.scale`: nan for a silent source j, -inf
for a silent estimate; other silent sources are ignored.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.metrics.scale import centred, check_pair, scored


class _Split(NamedTuple):
    """Energies `(..., S)` of the parts of each estimate, and which signals are silent."""

    target: Tensor
    interference: Tensor
    artifacts: Tensor
    no_reference: Tensor
    no_estimate: Tensor


def _split(references: checks.Audio, estimates: checks.Audio) -> _Split:
    references, estimates = check_pair(references, estimates, "references", "estimates", rank=2)
    s, energy, no_reference = centred(references)  # (..., S, T), (..., S), (..., S)
    e, _, no_estimate = centred(estimates)
    scale = energy.masked_fill(no_reference, 1.0).sqrt()
    unit = s / scale[..., None]  # unit energy, so that quiet sources do not spoil the conditioning
    inner = e @ unit.mT  # (..., estimate, source)
    gain = inner.diagonal(dim1=-2, dim2=-1)
    # The Gram matrix of linearly dependent or silent sources is singular: pinv, not inverse.
    weights = inner @ torch.linalg.pinv(unit @ unit.mT, hermitian=True)
    projected = weights @ unit  # (..., S, T)
    target = gain[..., None] * unit
    parts = (part.square().sum(-1) for part in (target, projected - target, e - projected))
    return _Split(*parts, *torch.broadcast_tensors(no_reference, no_estimate))


def si_sir(references: checks.Audio, estimates: checks.Audio) -> Tensor:
    """Compute the scale-invariant signal-to-interference ratio, the leakage of the other sources.

    SI-SIR = 10 log10(|a s|² / |P e - a s|²), P the projection on the span of all sources.

    Args:
        references: `(..., S, T)`, all true sources of the mixture.
        estimates: `(..., S, T)`, their estimates in the same order.

    Returns:
        `(..., S)` in dB, float64. nan for a silent reference, -inf for a silent estimate.

    Raises:
        ValueError: for signals that are complex, empty, not finite, or of unequal shapes.

    Example:
        >>> import torch, torchprim as tp
        >>> s = torch.tensor([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]])
        >>> tp.si_sir(s, s + 0.1 * s.flip(0)).round(decimals=4)
        tensor([20., 20.], dtype=torch.float64)
    """
    parts = _split(references, estimates)
    return scored(parts.target, parts.interference, parts.no_reference, parts.no_estimate)


def si_sar(references: checks.Audio, estimates: checks.Audio) -> Tensor:
    """Compute the scale-invariant signal-to-artifacts ratio, the error outside the span of all sources.

    SI-SAR = 10 log10(|a s|² / |e - P e|²), P the projection on the span of all sources.

    Args:
        references: `(..., S, T)`, all true sources of the mixture.
        estimates: `(..., S, T)`, their estimates in the same order.

    Returns:
        `(..., S)` in dB, float64. nan for a silent reference, -inf for a silent estimate.

    Raises:
        ValueError: for signals that are complex, empty, not finite, or of unequal shapes.

    Example:
        >>> import torch, torchprim as tp
        >>> s = torch.tensor([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]])
        >>> noise = torch.tensor([0.1, -0.1, -0.1, 0.1])
        >>> tp.si_sar(s, s + noise).round(decimals=4)
        tensor([20., 20.], dtype=torch.float64)
    """
    parts = _split(references, estimates)
    return scored(parts.target, parts.artifacts, parts.no_reference, parts.no_estimate)
