"""Trainer: optimisation steps of a network, its validation loss, and its state for a checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from torchprim.bootstrap.batch import RemixBatch
from torchprim.bootstrap.seeds import SEED_DROPOUT, SEED_FRAMES, derived_generator, mixed_seed
from torchprim.losses.masking import phase_sensitive
from torchprim.losses.training_loss import TrainingLoss, sample_frames, training_loss
from torchprim.networks.run import run_network
from torchprim.spectra.mixture import Mixture
from torchprim.training.anchors import Anchors
from torchprim.training.clipping import AutoClip
from torchprim.training.recipes import Recipe


class Trainer:
    """A network with its optimiser, gradient clipping and anchors.

    Every random choice of a step, dropout included, is a function of (seed, rank, step): no state of a
    random number generator is saved.

    Args:
        network: from `build_network`, on its device.
        recipe: settings of the training.
        seed: of dropout, and of the frames of the clustering loss.
        rank: of this process.
        world: number of processes; with several, gradients are averaged over the default process group.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.training.recipes import find_recipe
        >>> from torchprim.bootstrap.batch import make_batch
        >>> from torchprim.training.trainer import Trainer
        >>> trainer = Trainer(tp.build_network("unet"), find_recipe("unet"))
        >>> batch = make_batch(torch.randn(2, 10240), torch.randn(2, 10240), tp.Geometry())
        >>> first = trainer.step(batch, 0)
        >>> bool(trainer.validate([batch]) < first)
        True
    """

    def __init__(
        self, network: nn.Module, recipe: Recipe, *, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.network, self.recipe, self.seed, self.rank = network, recipe, seed, rank
        self.device = next(network.parameters()).device
        self.parallel: nn.Module = network
        if world > 1:
            # No buffer of a network changes in training, and a broadcast would wait for all ranks.
            self.parallel = nn.parallel.DistributedDataParallel(network, broadcast_buffers=False)
        self.optimiser = torch.optim.Adam(network.parameters(), lr=recipe.rate, fused=True)
        self.clip = AutoClip(recipe.autoclip if recipe.autoclip > 0 else None, recipe.clip)
        config = network.config
        self.bfloat16 = recipe.use_bfloat16(self.device, config.kind)
        embeds, classes = "embedding" in config.heads, len(config.sources)
        self.anchors = Anchors(config.dimensions, self.device, classes=classes) if embeds else None

    def step(self, batch: RemixBatch, step: int) -> Tensor:
        """Take one optimisation step; return its loss, detached, on the device."""
        # Of dropout: torch's own, which does not wait for the device.
        torch.manual_seed(mixed_seed(self.seed, self.rank, SEED_DROPOUT, step))
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate_at(step)
        loss = self.loss(batch, step, training=True).total
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.clip(self.network)
        self.optimiser.step()
        return loss.detach()

    def loss(self, batch: RemixBatch, step: int = 0, training: bool = False) -> TrainingLoss:
        """Compute the loss of a batch.

        Args:
            batch: of remixes, on the network's device.
            step: seeds the frames of the clustering loss.
            training: whether to average gradients over ranks in the backward pass, and update the anchors.
        """
        recipe, frames = self.recipe, None
        if recipe.cluster_frames and self.anchors is not None:
            generator = derived_generator(self.seed, self.rank, SEED_FRAMES, step)
            frames = sample_frames(batch.labels.shape[-1], recipe.cluster_frames, generator)
            frames = frames.to(self.device, non_blocking=True)
        geometry = self.network.config.geometry
        mixture = Mixture(batch.mono(), geometry.sample_rate, geometry)
        network = self.parallel if training else self.network
        with torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else contextlib.nullcontext():
            output = run_network(network, batch.magnitude, mixture, frames)
        loss = training_loss(
            output,
            batch.labels,
            batch.weights,
            batch.magnitude,
            self._targets(batch),
            frames=frames,
            clustering=recipe.loss,
            order=recipe.order,
            balance=recipe.balance,
            masking=recipe.masking,
        )
        if training and loss.grams is not None:
            self.anchors.update(loss.grams.cross, loss.grams.labels)
        return loss

    def _targets(self, batch: RemixBatch) -> list[Tensor]:
        """Compute what the masked mixture is compared with: K spectrograms `(B, F, N)`, by class."""
        spectra = list(batch.spectra.unbind(1))
        if self.recipe.order == 1:
            return [spectrum.abs() for spectrum in spectra]
        if len(spectra) == 2:
            # Phase-sensitive targets of two add up to the magnitude of the mixture, truncated or not.
            vocals = phase_sensitive(spectra[0] + spectra[1], spectra[1])
            return [batch.magnitude - vocals, vocals]
        mixture = batch.spectra.sum(1)
        return [phase_sensitive(mixture, spectrum) for spectrum in spectra]

    def validate(self, batches: Iterable[RemixBatch]) -> float:
        """Compute the mean loss of held-out batches, with the network in evaluation mode."""
        self.network.eval()
        with torch.no_grad():
            losses = [self.loss(batch, number).total for number, batch in enumerate(batches)]
        self.network.train()
        return torch.stack(losses).mean().item()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the training but for the weights: plain values and tensors."""
        return {
            "optimiser": self.optimiser.state_dict(),
            "clip": self.clip.state_dict(),
            "anchors": self.anchors.state_dict() if self.anchors else {},
            "recipe": self.recipe.to_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.clip.load_state_dict(state["clip"], self.device)
        if self.anchors is not None:
            self.anchors.load_state_dict(state["anchors"])
