"""Heads of networks: an embedding of unit norm in the positive orthant, a mask, or both."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


class NetworkOutput:
    """Embedding `(..., F, N, D)` and mask `(..., F, N)`; None where the network has no such head.

    Of two sources the mask is that of the first, the vocals; of K more than two there is one of each,
    `(..., K, F, N)`, and they add up to 1.

    With chosen frames the embedding is `(..., F, K, D)`. Networks return the logits of the embedding head,
    which the training loss reads; the embedding is computed from them on first use.

    Args:
        embedding: in float32; None to compute it from `logits`.
        mask: in float32.
        logits: raw output of the embedding head, before `unit_embedding`.

    Example:
        >>> import torch
        >>> from torchprim.networks.heads import NetworkOutput
        >>> output = NetworkOutput(logits=torch.zeros(1, 3, 2, 4))
        >>> output.embedding.unique(), output.mask is None
        (tensor([0.5000]), True)
    """

    def __init__(
        self, embedding: Tensor | None = None, mask: Tensor | None = None, logits: Tensor | None = None
    ) -> None:
        self._embedding, self.mask, self.logits = embedding, mask, logits

    @property
    def embedding(self) -> Tensor | None:
        """Embedding with rows of unit norm, computed on first use."""
        if self._embedding is None and self.logits is not None:
            self._embedding = unit_embedding(self.logits)
        return self._embedding

    def __iter__(self) -> Iterator[Tensor | None]:
        """Iterate over embedding and mask, for `embedding, mask = output`."""
        return iter((self.embedding, self.mask))


def unit_embedding(logits: Tensor) -> Tensor:
    """Normalise the sigmoid of logits to unit norm over the last dimension (section 4 of the paper).

    Float32, or float64 for logits in float64.

    Example:
        >>> import torch
        >>> from torchprim.networks.heads import unit_embedding
        >>> [round(x, 2) for x in unit_embedding(torch.zeros(4)).tolist()]
        [0.5, 0.5, 0.5, 0.5]
    """
    positive = torch.sigmoid(_full_precision(logits))
    return torch.nn.functional.normalize(positive, dim=-1)


def unit_mask(logits: Tensor) -> Tensor:
    """Compute the sigmoid of logits, in float32, or float64 for logits in float64."""
    return torch.sigmoid(_full_precision(logits))


def unit_masks(logits: Tensor) -> Tensor:
    """Compute the softmax over K sources of logits `(..., K, F, N)`, in the precision of `unit_mask`."""
    return torch.softmax(_full_precision(logits), -3)


def _full_precision(logits: Tensor) -> Tensor:
    """Convert half precision, which autocast uses inside the network, to float32."""
    return logits if logits.dtype == torch.float64 else logits.float()
