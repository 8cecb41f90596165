"""Checkpoints: written whole or not at all, read with an error of one line.

The format is a dict of plain values and tensors, as `torch.load(weights_only=True)` accepts:

| key | value |
|---|---|
| `format` | 1 |
| `version` | of torchprim |
| `config` | `NetworkConfig.to_dict()` |
| `network` | the network's `state_dict()` |
| `anchors` | `(2, D)`, mean embeddings in training: row 0 accompaniment, row 1 vocals; or None |
| `training` | state for resuming the training, not read here; absent from a checkpoint to share |
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from torchprim.errors import CheckpointError
from torchprim.files import replaced
from torchprim.networks.build import build_network
from torchprim.networks.config import NetworkConfig
from torchprim.version import __version__

FORMAT = 1


class Checkpoint(NamedTuple):
    """Content of a checkpoint, with the network built and its weights loaded."""

    network: nn.Module
    config: NetworkConfig
    anchors: Tensor | None  # (2, D): accompaniment, vocals
    version: str
    training: dict[str, Any]


def save_checkpoint(
    path: str | os.PathLike[str],
    network: nn.Module,
    anchors: Tensor | None = None,
    training: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint to a temporary file, then rename it: a killed run leaves the last one whole.

    Args:
        path: of the file; its folder is created.
        network: from `build_network`, not wrapped in DistributedDataParallel.
        anchors: `(2, D)`, mean embedding of accompaniment and of vocals.
        training: state for resuming the training, plain values and tensors.

    Raises:
        ValueError: for anchors of another shape than the network's embedding.
        OSError: where the file cannot be written.
    """
    config: NetworkConfig = network.config
    if anchors is not None and anchors.shape != (2, config.dimensions):
        raise ValueError(f"anchors must have shape (2, {config.dimensions}), got {tuple(anchors.shape)}")
    content = {
        "format": FORMAT,
        "version": __version__,
        "config": config.to_dict(),
        "network": network.state_dict(),
        "anchors": None if anchors is None else anchors.detach().cpu(),
    }
    if training is not None:
        content["training"] = training
    with replaced(path) as file:
        torch.save(content, file)


def read_checkpoint(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint and build its network, in evaluation mode.

    Args:
        path: of a file that `save_checkpoint` or `train.py` wrote.
        device: of the weights and anchors.

    Returns:
        A `Checkpoint`.

    Raises:
        CheckpointError: for a file that is missing, not a checkpoint, or of another format, or whose
            settings or weights do not fit; one line that names the file.

    Example:
        >>> import tempfile
        >>> from torchprim.networks.checkpoint import read_checkpoint, save_checkpoint
        >>> from torchprim.networks.build import build_network
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     save_checkpoint(file.name, build_network("unet"))
        ...     read_checkpoint(file.name).config.name
        'unet'
    """
    content = _load(path)
    file_format = content.get("format")
    if file_format != FORMAT:
        version = content.get("version", "another version")
        raise CheckpointError(
            path, f"a checkpoint of format {file_format!r}, from torchprim {version}; this reads {FORMAT}"
        )
    try:
        config = NetworkConfig.from_dict(content.get("config"))
    except ValueError as error:
        raise CheckpointError(path, f"{error} (written by torchprim {content.get('version')})") from error
    with torch.random.fork_rng(devices=[]):  # keep the program's random state
        network = build_network(config)
    try:
        network.load_state_dict(content["network"])
    except (KeyError, RuntimeError, TypeError, AttributeError) as error:
        reason = f"its weights do not fit its settings ({config.name}, {config.kind})"
        raise CheckpointError(path, reason) from error
    anchors = content.get("anchors")
    if anchors is not None:
        if not isinstance(anchors, Tensor) or anchors.shape != (2, config.dimensions):
            raise CheckpointError(path, f"its anchors are not of shape (2, {config.dimensions})")
        anchors = anchors.to(device)
    return Checkpoint(
        network.to(device).eval(), config, anchors, str(content.get("version")), content.get("training") or {}
    )


def _load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load the dict of a checkpoint onto the CPU, so that one written on a GPU opens everywhere."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(path, "there is no such file") from error
    except OSError as error:
        raise CheckpointError(path, error.strerror or str(error)) from error
    except Exception as error:  # unpickling foreign bytes raises errors of many types
        raise CheckpointError(path, "is not a checkpoint, or is damaged") from error
    if not isinstance(content, dict) or "network" not in content:
        raise CheckpointError(path, "is not a checkpoint of torchprim")
    return content
