"""Mask whose odds are multiplied by a factor that depends on position."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from torchprim.kernels.register import register_gradient, register_operator
from torchprim.kernels.spatial.position_histograms import interpolate
from torchprim.kernels.spatial.position_histograms import reference as histograms


def _factors(gain: Tensor) -> tuple[Tensor, Tensor]:
    """Return factors of vocals and accompaniment in the ratio exp(gain), the larger of them 1."""
    return gain.clamp(max=0).exp_(), gain.neg().clamp_(max=0).exp_()


def reference(mask: Tensor, position: Tensor, gains: Tensor, edges: Sequence[int]) -> Tensor:
    """Compute the mask as its equation is written."""
    up, down = _factors(interpolate(gains, position, edges))
    vocals = up.mul_(mask)
    return vocals.div_((1 - mask).mul_(down).add_(vocals))


def reference_gradients(
    gradient: Tensor, mask: Tensor, position: Tensor, gains: Tensor, edges: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Compute the gradients of the mask and of the gains."""
    up, down = _factors(interpolate(gains, position, edges))
    slope = gradient * up * down / (up * mask + down * (1 - mask)).square()
    return slope, histograms(position, slope * mask * (1 - mask), None, edges)[..., 0, :, :]


_shift = register_operator(
    "shifted_mask",
    reference,
    kernel="shifted_mask_triton.forward",
    fake=lambda mask: mask.new_empty(mask.shape),
)
_backward = register_operator(
    "shifted_mask_backward",
    reference_gradients,
    kernel="shifted_mask_triton.backward",
    fake=lambda mask, gains: (mask.new_empty(mask.shape), gains.new_empty(gains.shape)),
)
register_gradient(_shift, _backward, to=("mask", "gains"))


def shifted_mask(mask: Tensor, position: Tensor, gains: Tensor, edges: Sequence[int]) -> Tensor:
    """Shift a mask on the logit scale by a gain that depends on band and position.

    logit m' = logit m + g, as m' = m / (m + (1 - m) exp(-g)): 0, 1, and a mask with g = 0 stay what they are,
    exactly.

    Args:
        mask: m `(..., F, N)` in [0, 1].
        position: `(..., F, N)` in [0, 15], from `side_to_mid`.
        gains: g `(..., bands, 16)` at the points of the grid, in between interpolated; |g| to 80.
        edges: first bin of each band, then F.

    Returns:
        `(..., F, N)` in [0, 1], contiguous. Gradients flow to mask and gains.

    Example:
        >>> import torch
        >>> from torchprim.kernels.spatial.shifted_mask import shifted_mask
        >>> gains = torch.arange(16.0)[None]
        >>> shifted_mask(torch.full((1, 2), 0.5), torch.tensor([[0.0, 1.5]]), gains, [0, 1]).tolist()
        [[0.5, 0.8175744414329529]]
        >>> torch.tensor(1.5).sigmoid().item()
        0.8175744414329529
    """
    return _shift(mask, position, gains, list(edges))
