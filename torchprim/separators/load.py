"""Separators by name: of a checkpoint, of a network, of a preset."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn

from torchprim.ensemble.find_preset import find_any_preset
from torchprim.ensemble.four import StemPreset
from torchprim.errors import CheckpointError
from torchprim.networks.checkpoint import read_checkpoint
from torchprim.separators.network import NetworkSeparator, NetworkStemSeparator
from torchprim.separators.primitive import PrimitiveSeparator
from torchprim.separators.stems import StemSeparator
from torchprim.sources import TWO


def load(
    path: str | os.PathLike[str], device: str | torch.device = "cpu", **settings: Any
) -> NetworkSeparator | NetworkStemSeparator:
    """Load a trained network from a checkpoint.

    Args:
        path: of a checkpoint written by `train.py`, such as `RUN/best.pt`.
        device: of the separator.
        settings: of the separator: `use`, `beta`, `n_points`, `name`; of vocals and accompaniment `spatial`,
            of other sources `rest`.

    Returns:
        A `NetworkSeparator` of vocals and accompaniment, a `NetworkStemSeparator` of other sources; in
        evaluation mode, its weights frozen.

    Raises:
        CheckpointError: for a checkpoint that cannot be read, or settings that it does not allow.

    Example:
        >>> import tempfile, torch, torchprim as tp
        >>> from torchprim.networks.checkpoint import save_checkpoint
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     save_checkpoint(file.name, tp.build_network("unet"))
        ...     separator = tp.load(file.name)
        >>> separator(torch.randn(2, 44100), 44100).vocals.shape
        torch.Size([2, 44100])
    """
    checkpoint = read_checkpoint(path, device)
    network, sources = checkpoint.network.requires_grad_(False), checkpoint.config.sources
    of_others = "rest" if sources == TWO else "spatial"
    if of_others in settings:
        raise CheckpointError(path, f"{of_others} is no setting of a network of {', '.join(sources)}")
    try:
        return network_separator(network, checkpoint.anchors, **settings).to(device).eval()
    except ValueError as error:
        raise CheckpointError(path, str(error)) from error


def network_separator(
    network: nn.Module, anchors: Tensor | None = None, **settings: Any
) -> NetworkSeparator | NetworkStemSeparator:
    """Return the separator by a network that its sources ask for; arguments are those of the separator."""
    kind = NetworkSeparator if network.config.sources == TWO else NetworkStemSeparator
    return kind(network, anchors, **settings)


def preset_separator(preset: str, method: str = "pcl") -> PrimitiveSeparator | StemSeparator:
    """Return the separator by the primitives of a preset, of two sources or of K, see `find_any_preset`.

    Args:
        preset: its name.
        method: the ensemble or one cue, of two sources.

    Raises:
        ValueError: for an unknown preset or method.

    Example:
        >>> from torchprim.separators.load import preset_separator
        >>> preset_separator("paper").sources, preset_separator("four").rest
        (('vocals', 'accompaniment'), 'other')
    """
    found = find_any_preset(preset)
    return StemSeparator(found) if isinstance(found, StemPreset) else PrimitiveSeparator(found, method)
