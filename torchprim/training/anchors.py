"""Where the classes lie in embedding space, so that vocals are known after training with no ground truth."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.losses.grams import weighted_grams


class Anchors:
    """Running mean embedding of each class, weighted like the loss (section 3.2 leaves it open).

    Args:
        dimensions: D of the embedding.
        device: of the sums; nothing is waited for.
        momentum: how much of the past stays at each batch.

    Example:
        >>> import torch
        >>> from torchprim.training.anchors import Anchors
        >>> anchors = Anchors(2, torch.device("cpu"))
        >>> labels = torch.tensor([[[True], [False]]])
        >>> anchors.update(torch.eye(2).reshape(1, 2, 1, 2), labels, torch.ones(1, 2, 1))
        >>> anchors.mean()
        tensor([[0., 1.],
                [1., 0.]])
    """

    def __init__(self, dimensions: int, device: torch.device, momentum: float = 0.99) -> None:
        self.sums = torch.zeros(2, dimensions, device=device)
        self.counts = torch.zeros(2, 1, device=device)
        self.momentum = momentum

    @torch.no_grad()
    def update(self, embedding: Tensor, labels: Tensor, weights: Tensor) -> None:
        """Take in a batch: `(B, F, N, D)`, `(B, F, N)`, `(B, F, N)`."""
        grams = weighted_grams(embedding, labels, weights)
        self.update_sums(grams.cross, grams.labels)

    @torch.no_grad()
    def update_sums(self, cross: Tensor, labels: Tensor) -> None:
        """Take in a batch by its Gram matrices VᵀY `(B, D, 2)` and YᵀY `(B, 2, 2)`."""
        self.sums.mul_(self.momentum).add_(cross.sum(0).T, alpha=1 - self.momentum)
        counts = labels.sum((0, 1)).unsqueeze(-1)
        self.counts.mul_(self.momentum).add_(counts, alpha=1 - self.momentum)

    def mean(self) -> Tensor:
        """`(2, D)`: accompaniment, vocals."""
        return self.sums / torch.where(self.counts > 0, self.counts, 1)

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors, for a checkpoint."""
        return {"sums": self.sums.cpu(), "counts": self.counts.cpu()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        self.sums.copy_(state["sums"])
        self.counts.copy_(state["counts"])
