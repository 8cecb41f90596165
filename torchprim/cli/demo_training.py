"""The demo's last step: a short training on the one song it has."""

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
    """The `small` network after some steps on remixes of one song's own estimates.

    With one song alone all pairs are coherent: vocals and accompaniment of the same excerpt. What comes
    out has seen the song that it is then scored on, but never its stems.

    Args:
        song: the file.
        teacher: separates it.
        device: where to train.
        progress: called after each step.
        steps: how many.
    """
    from torchprim.bootstrap.bank import Bank
    from torchprim.bootstrap.remix import RemixStream
    from torchprim.networks.build import build_network
    from torchprim.training.recipes import find_recipe
    from torchprim.training.trainer import Trainer

    options = {"steps": steps, "batch_size": 4, "frames": 128, "coherent": 1.0}
    recipe = find_recipe("small", options)
    with tempfile.TemporaryDirectory() as cache:
        bank = Bank([song], cache=cache, device=device, progress=False)
    stream = RemixStream(bank, teacher, recipe.remix)
    # The demo's weights are the same every time, and the caller's random state stays as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network("small").to(device).train()
        trainer = Trainer(network, recipe)
        for step in range(steps):
            trainer.step(stream.batch(step), step)
            progress()
    anchors: Tensor | None = trainer.anchors.mean() if trainer.anchors else None
    return NetworkSeparator(network.eval(), anchors)
