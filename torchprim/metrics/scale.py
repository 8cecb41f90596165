"""Signal-to-distortion ratios in closed form: SD-SDR (the paper's metric), SI-SDR and SNR.

All are of zero-mean signals, over the whole track, accumulated and returned in float64 whatever the dtype of
the input (in float32 an error of 1e-6 dB would remain). Silence, where the formulas divide zero by zero, is
defined as follows; a constant signal is silent.

| | silent reference | silent estimate | estimate = reference |
|---|---|---|---|
| SD-SDR, SI-SDR | nan | -inf | +inf |
| SNR | nan | 0 | +inf |

A silent reference has no score: museval and the SiSEC and MDX campaigns leave such tracks and frames out,
so average with `nanmean` and report how many were left out. A silent estimate is scored like any estimate
that is orthogonal to the reference. Where a value is not finite its gradient is 0, so that one silent item
does not spoil a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks

# Energy left of a constant after its mean is taken off, relative to its energy: rounding, not signal.
_ROUNDING = 1e-24


class _Energies(NamedTuple):
    """Inner products `(...)` of zero-mean signals, float64, and which signals are silent."""

    reference: Tensor  # |s|², 1 where silent
    target: Tensor  # |a s|², a = <s, e> / |s|²
    error: Tensor  # |s - e|²
    residual: Tensor  # |e - a s|²
    no_reference: Tensor
    no_estimate: Tensor


def centred(signal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the zero-mean signal, its energy, and whether it is silent (then both are exact zeros)."""
    raw = checks.double(signal)
    centred = raw - raw.mean(dim=-1, keepdim=True)
    energy = centred.square().sum(-1)
    silent = energy <= _ROUNDING * raw.square().sum(-1)
    return centred.masked_fill(silent[..., None], 0.0), energy.masked_fill(silent, 0.0), silent


def check_pair(
    reference: checks.Audio,
    estimate: checks.Audio,
    first: str = "reference",
    second: str = "estimate",
    rank: int = 1,
) -> tuple[Tensor, Tensor]:
    """Check that two signals can be compared, and return them; name the arguments in a `ValueError`."""
    reference, estimate = checks.audio(reference, first, rank), checks.audio(estimate, second, rank)
    checks.same_device(estimate, second, reference, first)
    if reference.shape[-1] != estimate.shape[-1]:
        raise ValueError(
            f"{second} must be as long as {first} ({reference.shape[-1]} samples), "
            f"got {estimate.shape[-1]} samples"
        )
    try:
        torch.broadcast_shapes(reference.shape, estimate.shape)
    except RuntimeError:
        raise ValueError(
            f"{second} must have the leading dimensions of {first} {tuple(reference.shape)}, "
            f"got {tuple(estimate.shape)}"
        ) from None
    return reference, estimate


def _energies(reference: checks.Audio, estimate: checks.Audio) -> _Energies:
    reference, estimate = check_pair(reference, estimate)
    s, s_energy, no_reference = centred(reference)
    e, _, no_estimate = centred(estimate)
    s_energy = s_energy.masked_fill(no_reference, 1.0)
    gain = (s * e).sum(-1) / s_energy
    error = (s - e).square().sum(-1)
    residual = (e - gain[..., None] * s).square().sum(-1)
    no_reference, no_estimate = torch.broadcast_tensors(no_reference, no_estimate)
    return _Energies(s_energy, gain.square() * s_energy, error, residual, no_reference, no_estimate)


def decibel(above: Tensor, below: Tensor) -> Tensor:
    """Compute 10 log10(above / below): +inf where only `below` is 0, -inf where `above` is; gradient 0."""
    finite = (above > 0) & (below > 0)
    ratio = torch.where(finite, above, 1.0) / torch.where(finite, below, 1.0)
    limit = torch.where(above > 0, torch.inf, -torch.inf)
    return torch.where(finite, 10 * torch.log10(ratio), limit.to(ratio))


def scored(target: Tensor, error: Tensor, no_reference: Tensor, no_estimate: Tensor) -> Tensor:
    """Compute `decibel(target, error)`: nan for a silent reference, else -inf for a silent estimate."""
    return decibel(target, error).masked_fill(no_estimate, -torch.inf).masked_fill(no_reference, torch.nan)


def snr(reference: checks.Audio, estimate: checks.Audio) -> Tensor:
    """Compute the signal-to-noise ratio, with all that differs from the reference as noise.

    SNR = 10 log10(|s|² / |s - e|²), s and e with their means taken off.

    Args:
        reference: `(..., T)`, the true signal s.
        estimate: `(..., T)`, its estimate e; leading dimensions broadcast.

    Returns:
        `(...)` in dB, float64. nan for a silent reference, 0 for a silent estimate, +inf where equal.

    Raises:
        ValueError: for signals that are complex, empty, not finite, or of unequal shapes.

    Example:
        >>> import torch, torchprim as tp
        >>> s = torch.tensor([1.0, -1.0, 1.0, -1.0])
        >>> round(tp.snr(s, 0.9 * s).item(), 4)
        20.0
    """
    parts = _energies(reference, estimate)
    return decibel(parts.reference, parts.error).masked_fill(parts.no_reference, torch.nan)


def sd_sdr(reference: checks.Audio, estimate: checks.Audio) -> Tensor:
    """Compute the scale-dependent signal-to-distortion ratio, the paper's metric.

    a = <s, e> / |s|²; SD-SDR = 10 log10(|a s|² / |s - e|²) = SNR + 20 log10 |a|, s and e with their
    means taken off (Le Roux et al. 2019, eq. 7). It penalises a wrong level: it is never above SI-SDR.

    Args:
        reference: `(..., T)`, the true signal s.
        estimate: `(..., T)`, its estimate e; leading dimensions broadcast.

    Returns:
        `(...)` in dB, float64. nan for a silent reference, -inf for a silent estimate, +inf where equal.

    Raises:
        ValueError: for signals that are complex, empty, not finite, or of unequal shapes.

    Example:
        >>> import torch, torchprim as tp
        >>> s = torch.tensor([1.0, -1.0, 1.0, -1.0])
        >>> round(tp.sd_sdr(s, 0.5 * s).item(), 4)
        0.0
    """
    parts = _energies(reference, estimate)
    return scored(parts.target, parts.error, parts.no_reference, parts.no_estimate)


def si_sdr(reference: checks.Audio, estimate: checks.Audio) -> Tensor:
    """Compute the scale-invariant signal-to-distortion ratio (Le Roux et al. 2019, eq. 5).

    a = <s, e> / |s|²; SI-SDR = 10 log10(|a s|² / |e - a s|²), s and e with their means taken off.

    Args:
        reference: `(..., T)`, the true signal s.
        estimate: `(..., T)`, its estimate e; leading dimensions broadcast.

    Returns:
        `(...)` in dB, float64. nan for a silent reference, -inf for a silent estimate, +inf where the
        two are proportional (or, by rounding, about 300 dB).

    Raises:
        ValueError: for signals that are complex, empty, not finite, or of unequal shapes.

    Example:
        >>> import torch, torchprim as tp
        >>> s, n = torch.tensor([1.0, -1.0, 1.0, -1.0]), torch.tensor([0.1, 0.1, -0.1, -0.1])
        >>> round(tp.si_sdr(s, s + n).item(), 4), round(tp.si_sdr(s, 3 * (s + n)).item(), 4)
        (20.0, 20.0)
    """
    parts = _energies(reference, estimate)
    return scored(parts.target, parts.residual, parts.no_reference, parts.no_estimate)


def improvement(
    metric: Callable[[Tensor, Tensor], Tensor], references: Tensor, estimates: Tensor, mixture: Tensor
) -> Tensor:
    """Compute the improvement of a metric over the mixture taken as the estimate of all sources.

    metric(references, estimates) - metric(references, mixture); nan where the mixture's score is not
    finite and the estimate's is the same.

    Args:
        metric: `sd_sdr`, `si_sdr`, `snr`, `si_sir` or `si_sar`.
        references: `(..., S, T)`, true sources.
        estimates: `(..., S, T)`, their estimates in the same order.
        mixture: `(..., T)`.

    Returns:
        `(..., S)` in dB, float64.

    Raises:
        ValueError: for signals that are complex, empty, not finite, or of unequal shapes.

    Example:
        >>> import torch, torchprim as tp
        >>> s = torch.tensor([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]])
        >>> tp.metrics.improvement(tp.snr, s, s + 0.1 * s.flip(0), s.sum(0)).round(decimals=4)
        tensor([20., 20.], dtype=torch.float64)
    """
    checks.audio(mixture, "mixture")
    return metric(references, estimates) - metric(references, mixture.unsqueeze(-2).expand_as(references))
