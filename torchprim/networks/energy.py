"""A correction of masks that keeps the energy of what each lets through."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.autocast import outside_autocast
from torchprim.networks.features import root_mean_square

_STEPS = 6  # of Newton's method; the energy is then kept to 1e-4
_LARGEST_STEP = 2.0  # in units of the logit: far out the sigmoid is flat, and a step of no use
# Of K sources: iterative scaling comes near from anywhere, where Newton's method alone would overshoot.
_SCALINGS, _NEWTON_STEPS = 3, 4
_LEAST = 1e-30  # energy of a source, relative to the mixture's, whose logarithm is taken


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


@outside_autocast
def keep_energies(logits: Tensor, correction: Tensor, magnitude: Tensor) -> Tensor:
    """Add a correction to the logits of K masks, and the constants that keep the energy of each source.

    M' = softmax(L + Z + o), with an offset o_k of each item and source such that Σ A² M'_k = Σ A² M_k for
    every k, M = softmax(L); what `keep_energy` is for two sources. The offsets are the minimum of a convex
    function, Σ A² logsumexp(L + Z + o) - Σ_k o_k Σ A² M_k. First come steps of iterative scaling, o_k +=
    log(wanted_k / got_k) (Darroch and Ratcliff 1972), then of Newton's method.

    The gradient is that of the solution (by the implicit function theorem), from one more Newton step.

    Args:
        logits: L, `(..., K, F, N)`.
        correction: Z, likewise.
        magnitude: A, `(..., F, N)`, at any level.

    Returns:
        L + Z + o, `(..., K, F, N)`.

    Example:
        >>> import torch
        >>> from torchprim.networks.energy import keep_energies
        >>> magnitude, logits = torch.rand(65, 40), torch.randn(4, 65, 40)
        >>> masks = torch.softmax(keep_energies(logits, 3 * torch.randn(4, 65, 40), magnitude), 0)
        >>> energies = [(magnitude.square() * m).sum((1, 2)) for m in (masks, torch.softmax(logits, 0))]
        >>> bool((energies[0] / energies[1] - 1).abs().max() < 1e-4)
        True
    """
    power = (magnitude / root_mean_square(magnitude)).square().flatten(-2).unsqueeze(-2)
    weights = power / power.shape[-1]  # (..., 1, F N), of sum 1; 0 for silence
    wanted = (weights * torch.softmax(logits, -3).flatten(-2)).sum(-1)  # (..., K)
    corrected = logits + correction
    with torch.no_grad():
        masks = torch.softmax(corrected, -3).flatten(-2)
        offsets = torch.zeros_like(wanted)
        for step in range(_SCALINGS + _NEWTON_STEPS):
            # softmax(L + Z + o)_k = g_k M_k / Σ_j g_j M_j with g = exp(o): no exponential of a bin.
            gains = (offsets - offsets.amax(-1, keepdim=True)).exp().unsqueeze(-1)
            total = (gains.mT @ masks).clamp(min=torch.finfo(masks.dtype).tiny)
            weighted = weights / total
            got = (gains * (masks @ weighted.mT)).squeeze(-1)
            if step < _SCALINGS:
                change = torch.log(wanted.clamp(min=_LEAST) / got.clamp(min=_LEAST))
            else:
                shared = gains * ((masks * (weighted / total)) @ masks.mT) * gains.mT
                change = _newton_steps(shared, wanted - got)
            offsets = offsets + change
    masks = torch.softmax(corrected + offsets[..., None, None], -3).flatten(-2)
    weighted = weights * masks
    change = _newton_steps((weighted @ masks.mT).detach(), wanted - weighted.sum(-1))
    return corrected + (offsets + change)[..., None, None]


def _newton_steps(shared: Tensor, missing: Tensor) -> Tensor:
    """Compute Newton's change of the offsets, `(..., K)`, from the energies that two sources share.

    The Hessian, Σ A² (M_k δ_kj - M_k M_j), is the Laplacian of a graph whose edges are these energies.

    Args:
        shared: Σ A² M_k M_j, `(..., K, K)`.
        missing: energies that the masks lack, `(..., K)`.
    """
    change = _solve_laplacian(shared, missing)
    change = change - change.mean(-1, keepdim=True)
    return change.clamp(-_LARGEST_STEP, _LARGEST_STEP)


def _solve_laplacian(edges: Tensor, flow: Tensor) -> Tensor:
    """Solve Σ_j a_kj (x_k - x_j) = b_k, of which the last x is 0, by elimination of one node after another.

    Edges stay positive, so that nothing cancels, however hard the masks; no pivots, so no wait for a device.
    A node without edges, such as a silent source, gets what it has: nothing.

    Args:
        edges: a, `(..., K, K)`, symmetric, not negative; the diagonal is not read.
        flow: b, `(..., K)`, which add up to 0.
    """
    eliminated = []
    while edges.shape[-1] > 1:
        row = edges[..., 0, 1:]
        degree = row.sum(-1, keepdim=True)
        inverse = torch.where(degree > 0, 1 / torch.where(degree > 0, degree, 1), 0)
        share = row * inverse
        eliminated.append((share, flow[..., :1] * inverse))
        flow = flow[..., 1:] + share * flow[..., :1]
        edges = edges[..., 1:, 1:] + share.unsqueeze(-1) * row.unsqueeze(-2)
    solution = torch.zeros_like(flow)
    for share, own in reversed(eliminated):
        solution = torch.cat([own + (share * solution).sum(-1, keepdim=True), solution], -1)
    return solution
