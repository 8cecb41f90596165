"""Other implementations of the stages on the same device, for comparison.

Each takes the inputs of its stage; an ImportError means that the peer is not installed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from torchprim.kernels.hpss.hpss_mask import power_ratio
from torchprim.kernels.hpss.sliding_median import mirrored_index


def unfolded_median(x: Tensor, window: int, dim: int = -1) -> Tensor:
    """Compute a running median by `unfold` and `torch.median`; the window is odd."""
    reach = window // 2
    padded = x.index_select(dim, mirrored_index(x.shape[dim], reach, reach, x.device))
    return padded.unfold(dim, window, 1).median(-1).values


def cupy_median(x: Tensor, window: int, dim: int = -1) -> Tensor:
    """Compute a running median by `cupyx.scipy.ndimage.median_filter`, through DLPack."""
    import cupy
    from cupyx.scipy.ndimage import median_filter

    size = [1] * x.dim()
    size[dim] = window
    return torch.from_dlpack(median_filter(cupy.from_dlpack(x.detach()), size=tuple(size), mode="reflect"))


def hpss_with(median: Callable[..., Tensor]) -> Callable[[Tensor, int], Tensor]:
    """Return the HPSS mask with another running median."""

    def mask(magnitude: Tensor, window: int) -> Tensor:
        return power_ratio(median(magnitude, window, -1), median(magnitude, window, -2), 2.0)

    return mask


def cdist_silhouette(points: Tensor, labels: Tensor) -> Tensor:
    """Compute silhouettes of two clusters from full distance matrices, one item at a time."""
    member = torch.nn.functional.one_hot(labels, 2).to(points.dtype)  # (B, P, 2)
    rows = []
    for x, one_hot in zip(points, member, strict=True):
        sums, sizes = torch.cdist(x, x) @ one_hot, one_hot.sum(0)
        within = (sums * one_hot).sum(-1) / ((sizes - 1).clamp(min=1) * one_hot).sum(-1)
        between = (sums * (1 - one_hot)).sum(-1) / (sizes.clamp(min=1) * (1 - one_hot)).sum(-1)
        rows.append((between - within) / torch.maximum(between, within).clamp(min=1e-12))
    return torch.stack(rows)


def torbi_viterbi(emission: Tensor, transition: Tensor) -> Tensor:
    """Decode by `torbi`, which takes any transition matrix `(P, P)` of log probabilities."""
    import torbi

    observation = emission.mT.contiguous()
    return torbi.from_probabilities(
        observation, transition=transition, log_probs=True, gpu=emission.device.index or 0
    )
