"""Gradient clipping: to a fixed norm, or to a percentile of the norms so far."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AutoClip:
    """Clip gradients to a percentile of their norms so far (AutoClip; Seetharaman et al. 2020).

    The history is kept on the device, without synchronisation. With `percentile=None` gradients are
    clipped to a fixed norm.

    Args:
        percentile: in [0, 100], or None for a fixed norm.
        norm: the fixed norm.
        history: number of norms kept, the latest ones.

    Raises:
        ValueError: for a percentile out of range.

    Example:
        >>> import torch
        >>> from torchprim.training.clipping import AutoClip
        >>> layer = torch.nn.Linear(1, 1)
        >>> for parameter in layer.parameters():
        ...     parameter.grad = torch.full_like(parameter, 3.0)
        >>> before = AutoClip(norm=1.0)(layer)
        >>> round(before.item(), 2), round(layer.bias.grad.item(), 2)
        (4.24, 0.71)
    """

    def __init__(self, percentile: float | None = None, norm: float = 1.0, history: int = 10_000) -> None:
        if percentile is not None and not 0 <= percentile <= 100:
            raise ValueError(f"percentile must lie in [0, 100], got {percentile}")
        self.percentile, self.norm, self.history = percentile, norm, history
        self.count = 0
        self.norms: Tensor | None = None  # ring buffer: norm i is at i modulo its length

    def __call__(self, network: nn.Module) -> Tensor:
        """Clip the gradients in place; return their norm before clipping, on the device."""
        parameters = [p for p in network.parameters() if p.grad is not None]
        total = torch.nn.utils.get_total_norm([p.grad for p in parameters])
        if self.percentile is None:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.norm, total)
            return total
        if self.norms is None:
            self.norms = torch.zeros(self.history, device=total.device)
        self.norms[self.count % self.history] = total
        self.count += 1
        limit = torch.quantile(self.norms[: self.count], self.percentile / 100)
        torch._foreach_mul_([p.grad for p in parameters], (limit / (total + 1e-6)).clamp(max=1.0))
        return total

    def state_dict(self) -> dict:
        """Return count and norms, on the CPU, for a checkpoint."""
        norms = torch.empty(0) if self.norms is None else self.norms[: self.count].cpu()
        return {"count": self.count, "norms": norms}

    def load_state_dict(self, state: dict, device: torch.device) -> None:
        """Restore the history of a checkpoint."""
        self.count = state["count"]
        self.norms = None
        if len(state["norms"]):
            self.norms = torch.zeros(self.history, device=device)
            self.norms[: len(state["norms"])] = state["norms"].to(device)
