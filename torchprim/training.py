"""Parts of the training loop: the step, clipping, anchors, validation, and a stream of several streams."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from torchprim.losses import TrainingLoss, phase_sensitive, sample_frames, training_loss
from torchprim.remix import RemixBatch, RemixStream
from torchprim.remix_store import mixed_seed


class MixedStream:
    """Batches of several streams in turn, each with its share; like them a function of (seed, rank, step).

    Args:
        streams: such as one of estimates and one of few true stems.
        shares: of the batches, one a stream, positive.
        seed: of the choice.

    Raises:
        ValueError: for shares that do not fit the streams.
    """

    def __init__(self, streams: Sequence[RemixStream], shares: Sequence[float], seed: int = 0) -> None:
        if len(streams) != len(shares) or not streams or min(shares) <= 0:
            raise ValueError(f"shares must be positive, one for each of {len(streams)} streams, got {shares}")
        self.streams, self.seed, self.step = list(streams), seed, 0
        self.shares = torch.tensor(shares, dtype=torch.float64)

    def batch(self, step: int) -> RemixBatch:
        """The batch of a step."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, self.streams[0].rank, 5, step))
        return self.streams[int(torch.multinomial(self.shares, 1, generator=generator))].batch(step)

    def __iter__(self) -> Iterator[RemixBatch]:
        while True:
            batch = self.batch(self.step)
            self.step += 1
            yield batch


class AutoClip:
    """Clip gradients to a percentile of all their norms so far (Seetharaman et al. 2020).

    The history lives on the device: nothing is waited for. With a fixed `norm` instead it is ordinary
    clipping.

    Args:
        percentile: 0 to 100, or None for a fixed norm.
        norm: the fixed norm.
        history: norms that are remembered.
    """

    def __init__(self, percentile: float | None = None, norm: float = 1.0, history: int = 10_000) -> None:
        if percentile is not None and not 0 <= percentile <= 100:
            raise ValueError(f"percentile must lie in [0, 100], got {percentile}")
        self.percentile, self.norm, self.history = percentile, norm, history
        self.norms: list[Tensor] = []

    def __call__(self, network: nn.Module) -> Tensor:
        """Clip the gradients in place; returns their norm before."""
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        total = torch.nn.utils.get_total_norm(gradients)
        limit = self.norm
        if self.percentile is not None:
            self.norms = [*self.norms[-self.history + 1 :], total.detach()]
            limit = torch.quantile(torch.stack(self.norms), self.percentile / 100)
        scale = (limit / (total + 1e-6)).clamp(max=1.0) if isinstance(limit, Tensor) else None
        if scale is None:
            torch.nn.utils.clip_grads_with_norm_(network.parameters(), limit, total)
        else:
            torch._foreach_mul_(gradients, scale)
        return total

    def state_dict(self) -> dict:
        return {"norms": torch.stack(self.norms).cpu() if self.norms else torch.empty(0)}

    def load_state_dict(self, state: dict, device: torch.device) -> None:
        self.norms = list(state["norms"].to(device))


class Anchors:
    """Running mean embedding of each class, weighted like the loss: how vocals are known after training."""

    def __init__(self, dimensions: int, device: torch.device, momentum: float = 0.99) -> None:
        self.sums = torch.zeros(2, dimensions, device=device)
        self.counts = torch.zeros(2, 1, device=device)
        self.momentum = momentum

    @torch.no_grad()
    def update(self, embedding: Tensor, labels: Tensor, weights: Tensor) -> None:
        """Take in a batch: `(B, F, N, D)`, `(B, F, N)`, `(B, F, N)`."""
        member = torch.stack([~labels, labels]) * weights.square()
        sums = torch.einsum("kbfn,bfnd->kd", member, embedding)
        self.sums.mul_(self.momentum).add_(sums, alpha=1 - self.momentum)
        self.counts.mul_(self.momentum).add_(member.sum((1, 2, 3))[:, None], alpha=1 - self.momentum)

    def mean(self) -> Tensor:
        """`(2, D)`: accompaniment, vocals."""
        return self.sums / self.counts.clamp(min=1e-12)

    def state_dict(self) -> dict[str, Tensor]:
        return {"sums": self.sums.cpu(), "counts": self.counts.cpu()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.sums.copy_(state["sums"])
        self.counts.copy_(state["counts"])


class Trainer:
    """One network and what its training step needs.

    Args:
        network: from `build_network`, or that wrapped for several devices.
        device: where it runs.
        clustering: `deep` or `whitened`.
        balance: share of the mask's loss beside that of the embedding.
        order: of the mask's loss: 1 on magnitudes, 2 on what a real mask can reach of the complex spectra.
        frames: embedded for the clustering loss in each sequence; 0 for all.
        bfloat16: whether the network runs under autocast.
        seed: of the choice of frames.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        *,
        clustering: str = "deep",
        balance: float = 0.5,
        order: int = 2,
        frames: int = 0,
        bfloat16: bool = False,
        seed: int = 0,
    ) -> None:
        self.network, self.device, self.seed = network, device, seed
        self.clustering, self.balance, self.order, self.frames = clustering, balance, order, frames
        self.bfloat16 = bfloat16
        config = getattr(network, "module", network).config
        self.anchors = Anchors(config.dimensions, device) if "embedding" in config.heads else None

    def loss(self, batch: RemixBatch, step: int, learn: bool = True) -> TrainingLoss:
        """The loss of a batch; `learn` takes its embeddings into the anchors."""
        frames = None
        if self.frames and self.anchors is not None:
            generator = torch.Generator().manual_seed(mixed_seed(self.seed, 6, step))
            frames = sample_frames(batch.labels.shape[-1], self.frames, generator).to(
                self.device, non_blocking=True
            )
        with torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else contextlib.nullcontext():
            output = self.network(batch.magnitude, frames)
        mixture = batch.spectra.sum(1)
        accompaniment, vocals = (
            phase_sensitive(mixture, s) if self.order == 2 else s.abs() for s in batch.spectra.unbind(1)
        )
        if learn and output.embedding is not None:
            labels, weights = batch.labels, batch.weights
            if frames is not None:
                labels, weights = labels.index_select(-1, frames), weights.index_select(-1, frames)
            self.anchors.update(output.embedding, labels, weights)
        return training_loss(
            output,
            batch.labels,
            batch.weights,
            batch.magnitude,
            vocals,
            accompaniment,
            frames=frames,
            clustering=self.clustering,
            order=self.order,
            balance=self.balance,
        )

    def validate(self, batches: Sequence[RemixBatch]) -> Tensor:
        """Mean loss of held-out batches, the network in evaluation mode."""
        self.network.eval()
        with torch.no_grad():
            losses = [self.loss(batch, i, learn=False).total for i, batch in enumerate(batches)]
        self.network.train()
        return torch.stack(losses).mean()


def held_out(names: Sequence[str], share: float, seed: int) -> set[int]:
    """Songs kept for validation: a share of them drawn by the seed, at least one of three or more.

    Example:
        >>> from torchprim.training import held_out
        >>> len(held_out(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"], 0.2, 0)), held_out(["a"], 0.2, 0)
        (2, set())
    """
    if len(names) < 3 or share == 0:
        return set()
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(mixed_seed(seed, 7))).tolist()
    return set(order[: max(1, round(share * len(names)))])
