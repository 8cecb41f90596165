"""Least-squares filters of BSSEval: an estimate as references that were filtered with 512 taps each.

c = argmin |e - Σ_p h_p * s_p|² over filters h_p of L taps, one for every reference channel p. The normal
equations G c = d hold correlations alone: G is block-Toeplitz, with a block of L x L for every pair of
channels. Correlations are summed over short blocks of the signals, so that the Fourier transforms stay
small whatever the length of the track.

G of real music is singular to working precision: a codec leaves nothing above 16 kHz, and channels are
nearly equal. What c does there is rounding, and heard only at the edges of BSSEval's frames. The channels'
principal axes in the place of the channels make most of it disappear: see docs/evaluation.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

_EPS = torch.finfo(torch.float64).eps  # museval's, on the diagonal of G
_NOTHING = 1e-26  # energy of rounding, relative to the signal's
_CHUNK = 2**24  # numbers in a chunk of blocks: about 128 MB


def _blocks(signal: Tensor, step: int, length: int, count: int) -> Tensor:
    """`(..., T)` -> `(..., count, length)`, blocks that start every `step` samples, zeros after the end."""
    missing = (count - 1) * step + length - signal.shape[-1]
    return torch.nn.functional.pad(signal, (0, max(0, missing))).unfold(-1, length, step)[..., :count, :]


def correlations(leading: Tensor, lagging: Tensor, lags: int) -> Tensor:
    """Correlations of every pair of channels: r[p, q, l] = Σ_t x_p[t + l] y_q[t], l = 0 ... lags - 1.

    Args:
        leading: x, `(P, T)`.
        lagging: y, `(Q, T)`.
        lags: number of lags.

    Returns:
        `(P, Q, lags)`.

    Example:
        >>> import torch
        >>> from torchprim.metrics.distortion_filters import correlations
        >>> x = torch.tensor([[1.0, 2.0, 3.0]])
        >>> correlations(x, x, 2).round(decimals=4)
        tensor([[[14.,  8.]]])
    """
    size = max(4096, 1 << (4 * lags - 1).bit_length())
    step = size - lags + 1  # a block and the samples that its last lags reach, without wrapping round
    count = -(-leading.shape[-1] // step)
    some = max(1, _CHUNK // ((len(leading) + len(lagging)) * size))
    total: Tensor | float = 0.0
    for first in range(0, count, some):
        here = min(some, count - first)
        x = torch.fft.rfft(_blocks(leading[:, first * step :], step, size, here))  # (P, B, F)
        y = _blocks(lagging[:, first * step :], step, step, here)
        y = torch.fft.rfft(y, n=size).conj()
        total = total + torch.einsum("pbf,qbf->pqf", x, y)
    return torch.fft.irfft(total, n=size)[..., :lags]


def gram(r: Tensor) -> Tensor:
    """G of delayed channels from their correlations: G[(p, k), (q, l)] = Σ_t s_p[t - k] s_q[t - l].

    Args:
        r: `correlations(s, s, L)`, `(P, P, L)`.

    Returns:
        `(P, L, P, L)`.
    """
    lags = r.shape[-1]  # l >= 0; r_pq[-l] = r_qp[l]
    both = torch.cat([r.transpose(0, 1)[..., 1:].flip(-1), r], dim=-1)  # (P, P, 2 L - 1)
    delay = torch.arange(lags, device=r.device)
    return both[..., delay - delay[:, None] + lags - 1].movedim(1, 2)


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    """The solution of G c = d, `(n, n)` and `(n, m)`, as museval finds it.

    By elimination, with museval's ridge. Where a pivot is exactly 0 a larger one is tried: a shortest
    least-squares solution would also drop what is quiet, such as all above 10 kHz.
    """
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    ridge = _EPS
    while True:
        solution, info = torch.linalg.solve_ex(matrix + ridge * identity, right)
        if info.item() == 0 or ridge > matrix.diagonal().max():
            return solution
        ridge = max(10 * ridge, _EPS * matrix.diagonal().mean().item())


def projection_filters(references: Tensor, estimates: Tensor, lags: int) -> tuple[Tensor, Tensor]:
    """Filters that project estimates on their own reference, and on all references.

    Args:
        references: `(S, C, T)`.
        estimates: `(S, C, T)`.
        lags: taps L of a filter.

    Returns:
        own `(S, C, L, C)` (source, reference channel, tap, estimate channel) and all
        `(S, C, L, S, C)` (reference, its channel, tap, estimate, its channel).

    Example:
        >>> import torch
        >>> from torchprim.metrics.distortion_filters import projection_filters
        >>> s = torch.randn(2, 1, 4000, dtype=torch.float64)
        >>> own, both = projection_filters(s, 0.5 * s, 3)
        >>> torch.allclose(own[0, 0, :, 0], torch.tensor([0.5, 0, 0], dtype=torch.float64))
        True
    """
    sources, channels = references.shape[:2]
    axes = principal_axes(references)
    s, e = (axes.mT @ references).flatten(0, 1), estimates.flatten(0, 1)
    energy = s.square().sum(-1).unflatten(0, (sources, channels))
    # Mono on two channels has one axis: the other holds rounding alone.
    kept = (energy > _NOTHING * energy.amax(-1, keepdim=True)).flatten().nonzero().flatten()
    r = correlations(torch.cat([s[kept], e]), s[kept], lags)
    g = gram(r[: len(kept)])
    d = r[len(kept) :].permute(1, 2, 0)  # (P, L, S C): Σ_t s_p[t - l] e_c[t]
    both = e.new_zeros(sources * channels, lags, len(e))
    own = e.new_zeros(sources * channels, lags, channels)
    both[kept] = _solved(g, d)
    for source in range(sources):
        its = (kept // channels == source).nonzero().flatten()
        if len(its):
            columns = slice(source * channels, (source + 1) * channels)
            own[kept[its]] = _solved(g[its][:, :, its], d[its][:, :, columns])
    own = own.reshape(sources, channels, lags, channels)
    both = both.reshape(sources, channels, lags, sources, channels)
    return torch.einsum("sca,sald->scld", axes, own), torch.einsum("sca,saled->scled", axes, both)


def principal_axes(references: Tensor) -> Tensor:
    """Of each source's channels: `(S, C, T)` -> orthogonal `(S, C, C)`, axes as columns.

    Another basis of the same span. Channels that are nearly equal differ by little; as a signal of its
    own that difference keeps its digits, as a difference of correlations it would lose them.
    """
    return torch.linalg.eigh(references @ references.mT).eigenvectors


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """`solve` of `(P, L, P, L)` and `(P, L, m)`."""
    size = matrix.shape[0] * matrix.shape[1]
    return solve(matrix.reshape(size, size), right.reshape(size, -1)).reshape(right.shape)
