"""What networks give: an embedding of unit norm in the positive orthant, a mask, or both."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class NetworkOutput(NamedTuple):
    """Embedding `(..., F, N, D)` and vocals mask `(..., F, N)`; None where the network has no such head.

    Where frames were chosen, the embedding holds those alone: `(..., F, K, D)`.
    """

    embedding: Tensor | None
    mask: Tensor | None


def unit_embedding(logits: Tensor) -> Tensor:
    """Sigmoid, then unit norm over the last dimension (section 4 of the paper), in float32.

    Example:
        >>> import torch
        >>> from torchprim.networks.heads import unit_embedding
        >>> [round(x, 2) for x in unit_embedding(torch.zeros(4)).tolist()]
        [0.5, 0.5, 0.5, 0.5]
    """
    positive = torch.sigmoid(_full(logits))
    return torch.nn.functional.normalize(positive, dim=-1)


def unit_mask(logits: Tensor) -> Tensor:
    """Sigmoid, in float32."""
    return torch.sigmoid(_full(logits))


def _full(logits: Tensor) -> Tensor:
    """Reduced precision, in the network alone, ends here."""
    return logits if logits.dtype == torch.float64 else logits.float()
