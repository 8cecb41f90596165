"""The last step of `torchprim demo`: a short training on its only song."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from torchprim.separators.network import NetworkSeparator

STEPS = 60


def train_on_one_song(
    song: Path, teacher: nn.Module, device: str, progress: Callable[[], None], steps: int = STEPS
) -> NetworkSeparator:
    """Train the `small` network on remixes of the teacher's estimates of one song.

    With one song all pairs are coherent: vocals and accompaniment of the same excerpt. The network is scored
    on its training song, whose true stems it has never seen.

    Args:
        song: path of the file.
        teacher: separator that makes the estimates.
        device: of the training.
        progress: called after each step.
        steps: number of optimisation steps.

    Returns:
        The separator, in evaluation mode.
    """
    from torchprim.bootstrap.banks.bank import Bank
    from torchprim.bootstrap.remix import RemixStream
    from torchprim.networks.build import build_network
    from torchprim.training.recipes import find_recipe
    from torchprim.training.trainer import Trainer

    options = {"steps": steps, "batch_size": 4, "frames": 128, "coherent": 1.0}
    recipe = find_recipe("small", options)
    with tempfile.TemporaryDirectory() as cache:
        bank = Bank([song], cache=cache, device=device, progress=False)
    stream = RemixStream(bank, teacher, recipe.remix)
    # A fixed seed for the demo's weights, without a change of the caller's random state.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network("small").to(device).train()
        trainer = Trainer(network, recipe)
        for step in range(steps):
            trainer.step(stream.batch(step), step)
            progress()
    anchors: Tensor | None = trainer.anchors.mean() if trainer.anchors else None
    return NetworkSeparator(network.eval(), anchors)
