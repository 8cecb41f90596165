"""Anchors: class means of the embedding, which tell the sources apart without ground truth."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.losses.grams import divisor


class Anchors:
    """Running mean embedding of each class, weighted like the loss (section 3.2 leaves it open).

    Args:
        dimensions: D of the embedding.
        device: of the sums; updates do not synchronise with it.
        momentum: decay of the past at each batch, in [0, 1].
        classes: K.

    Example:
        >>> import torch
        >>> from torchprim.losses.grams import weighted_grams
        >>> from torchprim.training.anchors import Anchors
        >>> anchors = Anchors(2, torch.device("cpu"))
        >>> labels = torch.tensor([[[True], [False]]])
        >>> grams = weighted_grams(torch.eye(2).reshape(1, 2, 1, 2), labels, torch.ones(1, 2, 1))
        >>> anchors.update(grams.cross, grams.labels)
        >>> anchors.mean()
        tensor([[0., 1.],
                [1., 0.]])
    """

    def __init__(
        self, dimensions: int, device: torch.device, momentum: float = 0.99, classes: int = 2
    ) -> None:
        self.sums = torch.zeros(classes, dimensions, device=device)
        self.counts = torch.zeros(classes, 1, device=device)
        self.momentum = momentum

    @torch.no_grad()
    def update(self, cross: Tensor, labels: Tensor) -> None:
        """Update the means with the Gram matrices VᵀY `(B, D, K)` and YᵀY `(B, K, K)` of a batch."""
        self.sums.mul_(self.momentum).add_(cross.sum(0).T, alpha=1 - self.momentum)
        counts = labels.sum((0, 1)).unsqueeze(-1)
        self.counts.mul_(self.momentum).add_(counts, alpha=1 - self.momentum)

    def mean(self) -> Tensor:
        """Return the means `(K, D)` in the order of the classes; zero before the first batch."""
        return self.sums / divisor(self.counts)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sums on the CPU, for a checkpoint."""
        return {"sums": self.sums.cpu(), "counts": self.counts.cpu()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the sums of a checkpoint."""
        self.sums.copy_(state["sums"])
        self.counts.copy_(state["counts"])
