"""The same computations by other means, on the same device: what people would use otherwise.

Each takes the inputs of its stage; ImportError means that the peer is not installed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.hpss.hpss_mask import power_ratio
from torchprim.kernels.hpss.sliding_median import mirrored_index


def unfolded_median(x: Tensor, window: int, dim: int = -1) -> Tensor:
    """Every window laid out, then `torch.median`: the same samples for an odd window."""
    reach = window // 2
    padded = x.index_select(dim, mirrored_index(x.shape[dim], reach, reach, x.device))
    return padded.unfold(dim, window, 1).median(-1).values


def cupy_median(x: Tensor, window: int, dim: int = -1) -> Tensor:
    """`cupyx.scipy.ndimage.median_filter`, on the same memory."""
    import cupy
    from cupyx.scipy.ndimage import median_filter

    size = [1] * x.dim()
    size[dim] = window
    return torch.from_dlpack(median_filter(cupy.from_dlpack(x.detach()), size=tuple(size), mode="reflect"))


def hpss_of(median):
    """The HPSS mask with some other running median."""

    def mask(magnitude: Tensor, window: int) -> Tensor:
        return power_ratio(median(magnitude, window, -1), median(magnitude, window, -2), 2.0)

    return mask


def cdist_silhouette(points: Tensor, labels: Tensor) -> Tensor:
    """Silhouettes of two clusters from whole distance matrices by `torch.cdist`, one item at a time."""
    member = torch.nn.functional.one_hot(labels, 2).to(points.dtype)  # (B, P, 2)
    rows = []
    for x, own in zip(points, member, strict=True):
        sums, sizes = torch.cdist(x, x) @ own, own.sum(0)
        inside = (sums * own).sum(-1) / ((sizes - 1).clamp(min=1) * own).sum(-1)
        outside = (sums * (1 - own)).sum(-1) / (sizes.clamp(min=1) * (1 - own)).sum(-1)
        rows.append((outside - inside) / torch.maximum(outside, inside).clamp(min=1e-12))
    return torch.stack(rows)


def torbi_viterbi(emission: Tensor, transition: Tensor) -> Tensor:
    """The path by `torbi`, which takes any transition matrix `(P, P)` of log probabilities."""
    import torbi

    observation = emission.mT.contiguous()
    return torbi.from_probabilities(
        observation, transition=transition, log_probs=True, gpu=emission.device.index or 0
    )
