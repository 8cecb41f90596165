"""What networks give: an embedding of unit norm in the positive orthant, a mask, or both."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


class NetworkOutput:
    """Embedding `(..., F, N, D)` and vocals mask `(..., F, N)`; None where the network has no such head.

    Where frames were chosen, the embedding holds those alone: `(..., F, K, D)`. A network gives the raw
    output of its head, which the training loss reads as it is; the embedding is made when it is asked for.

    Args:
        embedding: in float32; of `logits` where it is None.
        mask: in float32.
        logits: what `unit_embedding` makes the embedding of, as the head gave it.

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
        """Rows of unit norm, made once."""
        if self._embedding is None and self.logits is not None:
            self._embedding = unit_embedding(self.logits)
        return self._embedding

    def __iter__(self) -> Iterator[Tensor | None]:
        """`embedding, mask = output`."""
        return iter((self.embedding, self.mask))


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
