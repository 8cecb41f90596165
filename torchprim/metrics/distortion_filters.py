"""Least-squares filters of BSSEval: projection of an estimate on references filtered with 512 taps each.

c = argmin |e - Σ_p h_p * s_p|² over filters h_p of L taps, one for each reference channel p. The normal
equations G c = d need correlations only: G is block-Toeplitz, with a block of L x L for each pair of
channels. Correlations are accumulated over short blocks of the signals, so that the FFT size does not
depend on the length of the track.

G of real music is numerically singular: a codec leaves nothing above 16 kHz, and channels are nearly
equal. In that null space c is rounding error, which matters only at the edges of BSSEval's frames. A change
of basis, from channels to their principal axes, removes most of it: see docs/evaluation.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

_EPS = torch.finfo(torch.float64).eps  # museval's, on the diagonal of G
_ROUNDING = 1e-26  # energy of rounding errors relative to the signal's
_CHUNK = 2**24  # numbers in a chunk of blocks: about 128 MB


def _blocks(signal: Tensor, step: int, length: int, count: int) -> Tensor:
    """Cut `(..., T)` into blocks `(..., count, length)`, `step` samples apart, zero-padded at the end."""
    missing = (count - 1) * step + length - signal.shape[-1]
    return torch.nn.functional.pad(signal, (0, max(0, missing))).unfold(-1, length, step)[..., :count, :]


def correlations(leading: Tensor, lagging: Tensor, lags: int) -> Tensor:
    """Correlate all pairs of channels: r[p, q, l] = Σ_t x_p[t + l] y_q[t], l = 0 ... lags - 1.

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
    step = size - lags + 1  # a block and its last lags fit the FFT without wrapping around
    count = -(-leading.shape[-1] // step)
    chunk = max(1, _CHUNK // ((len(leading) + len(lagging)) * size))  # blocks
    total: Tensor | float = 0.0
    for first in range(0, count, chunk):
        blocks = min(chunk, count - first)
        x = torch.fft.rfft(_blocks(leading[:, first * step :], step, size, blocks))  # (P, B, F)
        y = _blocks(lagging[:, first * step :], step, step, blocks)
        y = torch.fft.rfft(y, n=size).conj()
        total = total + torch.einsum("pbf,qbf->pqf", x, y)
    return torch.fft.irfft(total, n=size)[..., :lags]


def gram(r: Tensor) -> Tensor:
    """Assemble the Gram matrix of delayed channels: G[(p, k), (q, l)] = Σ_t s_p[t - k] s_q[t - l].

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
    """Solve G c = d, `(n, n)` and `(n, m)`, as museval does: by LU, with its ridge.

    Where a pivot is exactly 0 a larger ridge is tried: a minimum-norm solution would also drop quiet
    components, such as all above 10 kHz.
    """
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    ridge = _EPS
    while True:
        solution, info = torch.linalg.solve_ex(matrix + ridge * identity, right)
        if info.item() == 0 or ridge > matrix.diagonal().max():
            return solution
        ridge = max(10 * ridge, _EPS * matrix.diagonal().mean().item())


def projection_filters(references: Tensor, estimates: Tensor, lags: int) -> tuple[Tensor, Tensor]:
    """Compute the filters that project estimates on their own reference, and on all references.

    Args:
        references: `(S, C, T)`.
        estimates: `(S, C, T)`.
        lags: taps L of a filter.

    Returns:
        per source `(S, C, L, C)` (source, reference channel, tap, estimate channel), and joint
        `(S, C, L, S, C)` (reference, its channel, tap, estimate, its channel).

    Example:
        >>> import torch
        >>> from torchprim.metrics.distortion_filters import projection_filters
        >>> s = torch.randn(2, 1, 4000, dtype=torch.float64)
        >>> per_source, joint = projection_filters(s, 0.5 * s, 3)
        >>> torch.allclose(per_source[0, 0, :, 0], torch.tensor([0.5, 0, 0], dtype=torch.float64))
        True
    """
    sources, channels = references.shape[:2]
    axes = principal_axes(references)
    s, e = (axes.mT @ references).flatten(0, 1), estimates.flatten(0, 1)
    energy = s.square().sum(-1).unflatten(0, (sources, channels))
    # Mono on two channels has one axis: the other is rounding error.
    rows = (energy > _ROUNDING * energy.amax(-1, keepdim=True)).flatten().nonzero().flatten()
    r = correlations(torch.cat([s[rows], e]), s[rows], lags)
    g = gram(r[: len(rows)])
    d = r[len(rows) :].permute(1, 2, 0)  # (P, L, S C): Σ_t s_p[t - l] e_c[t]
    joint = e.new_zeros(sources * channels, lags, len(e))
    per_source = e.new_zeros(sources * channels, lags, channels)
    joint[rows] = _solve_blocks(g, d)
    for source in range(sources):
        index = (rows // channels == source).nonzero().flatten()
        if len(index):
            columns = slice(source * channels, (source + 1) * channels)
            per_source[rows[index]] = _solve_blocks(g[index][:, :, index], d[index][:, :, columns])
    per_source = per_source.reshape(sources, channels, lags, channels)
    joint = joint.reshape(sources, channels, lags, sources, channels)
    return torch.einsum("sca,sald->scld", axes, per_source), torch.einsum("sca,saled->scled", axes, joint)


def principal_axes(references: Tensor) -> Tensor:
    """Compute the principal axes of each source's channels: `(S, C, T)` -> `(S, C, C)`, axes as columns.

    An orthogonal basis of the same span. The small difference of nearly equal channels keeps its precision
    as a signal; as a difference of correlations it would be lost to cancellation.
    """
    return torch.linalg.eigh(references @ references.mT).eigenvectors


def _solve_blocks(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve with `(P, L, P, L)` and `(P, L, m)`."""
    size = matrix.shape[0] * matrix.shape[1]
    return solve(matrix.reshape(size, size), right.reshape(size, -1)).reshape(right.shape)
