"""What a training would cost a CPU, from two steps on few frames: days are refused before they begin."""

from __future__ import annotations

import time

import torch

from torchprim.bootstrap.batch import mix
from torchprim.networks.build import build_network
from torchprim.networks.config import NetworkConfig
from torchprim.training.recipes import Recipe
from torchprim.training.trainer import Trainer

MOST_HOURS = 48.0  # the paper's network takes hundreds to thousands on a CPU, `small` a fraction of one
_FRAMES = 32  # of the steps that are timed


def step_seconds(config: NetworkConfig, recipe: Recipe) -> float:
    """Time an optimisation step of a network on the CPU, without its data.

    Whole batches of few frames: an LSTM's time is proportional to frames, not to sequences.

    Args:
        config: of the network.
        recipe: of its training.

    Returns:
        seconds of a step of the recipe's batches, of its frames.
    """
    frames = min(_FRAMES, recipe.remix.frames)
    with torch.random.fork_rng(devices=[]):
        trainer = Trainer(build_network(config).train(), recipe)
        sources, samples = len(config.sources), (frames - 1) * config.geometry.hop_length
        batch = mix(0.1 * torch.randn(recipe.remix.batch_size, sources, samples), config.geometry)
        times = []
        for step in range(2):  # the first one allocates
            started = time.perf_counter()
            trainer.step(batch, step)
            times.append(time.perf_counter() - started)
    return min(times) * recipe.remix.frames / frames


def check_cost(config: NetworkConfig, recipe: Recipe, steps: int) -> None:
    """Refuse a training that would take a CPU days.

    Args:
        config: of the network.
        recipe: of its training.
        steps: that are left to take.

    Raises:
        ValueError: one line with the estimate.
    """
    seconds = step_seconds(config, recipe)
    hours = steps * seconds / 3600
    if hours > MOST_HOURS:
        raise ValueError(
            f"{steps:,} steps of the network {config.name!r} would take this CPU about {hours:,.0f} hours "
            f"({seconds:.3g} s a step); --preset small is made for a CPU, --anyway trains all the same"
        )
