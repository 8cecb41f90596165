"""Checkpoints: written whole or not at all, read with an error of one line.

The format is a dict of plain values and tensors, as `torch.load(weights_only=True)` accepts:

| key | value |
|---|---|
| `format` | 1 |
| `version` | of torchprim |
| `config` | `NetworkConfig.to_dict()`, without `sources` where these are vocals and accompaniment |
| `network` | the network's `state_dict()` |
| `anchors` | `(K, D)`, mean embeddings in training, of two sources row 0 accompaniment; or None |
| `training` | state for resuming the training, not read here; absent from a checkpoint to share |
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor, nn

from torchprim.errors import CheckpointError, is_out_of_memory
from torchprim.files import open_regular, replaced
from torchprim.networks.build import build_network
from torchprim.networks.config import NetworkConfig
from torchprim.sources import TWO
from torchprim.version import __version__

FORMAT = 1
# Bytes that a network may hold beyond the weights of its file: tables made anew, such as a mel filter bank.
_TABLES = 1 << 26


class Checkpoint(NamedTuple):
    """Content of a checkpoint, with the network built and its weights loaded."""

    network: nn.Module
    config: NetworkConfig
    anchors: Tensor | None  # (K, D), in the order of `config.classes`: accompaniment, vocals
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
        anchors: `(K, D)`, mean embedding of each source in the order of `config.classes`.
        training: state for resuming the training, plain values and tensors.

    Raises:
        ValueError: for anchors of another shape than the network's embedding.
        OSError: where the file cannot be written.
    """
    config: NetworkConfig = network.config
    expected = (len(config.sources), config.dimensions)
    if anchors is not None and anchors.shape != expected:
        raise ValueError(f"anchors must have shape {expected}, got {tuple(anchors.shape)}")
    content = {
        "format": FORMAT,
        "version": __version__,
        "config": _plain(config),
        "network": network.state_dict(),
        "anchors": None if anchors is None else anchors.detach().cpu(),
    }
    if training is not None:
        content["training"] = training
    with replaced(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch's zip writer fails once more as it is closed
                raise error.__context__ from None
            raise


def read_checkpoint(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint and build its network, in evaluation mode.

    Args:
        path: of a file that `save_checkpoint` or `train.py` wrote.
        device: of the weights and anchors.

    Returns:
        A `Checkpoint`.

    Raises:
        CheckpointError: for a file that is missing, not a checkpoint, damaged, or of another format, or
            whose settings and weights do not fit or are not finite; one line that names the file.

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
    config = _config(path, content)
    try:
        network = _build(path, config, content["network"])
    except (KeyError, RuntimeError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        reason = f"its weights do not fit its settings ({config.name}, {config.kind})"
        raise CheckpointError(path, "not enough memory" if is_out_of_memory(error) else reason) from error
    anchors = content.get("anchors")
    if anchors is not None:
        expected = (len(config.sources), config.dimensions)
        if not isinstance(anchors, Tensor) or anchors.shape != expected:
            raise CheckpointError(path, f"its anchors are not of shape {expected}")
        _check_finite(path, {"anchors": anchors})
        anchors = anchors.to(device)
    return Checkpoint(
        network.to(device).eval(), config, anchors, str(content.get("version")), content.get("training") or {}
    )


def read_config(path: str | os.PathLike[str]) -> NetworkConfig:
    """Read the configuration of a checkpoint's network, without building it.

    Raises:
        CheckpointError: as `read_checkpoint`, but nothing is said of the weights.
    """
    return _config(path, _load(path))


def _plain(config: NetworkConfig) -> dict[str, Any]:
    """Convert a configuration to plain values; without the sources if they are two, as version 0.2 knows."""
    plain = config.to_dict()
    if config.sources == TWO:
        del plain["sources"]
    return plain


def _config(path: str | os.PathLike[str], content: Mapping[str, Any]) -> NetworkConfig:
    """Read the configuration in the content of a checkpoint, after a check of its format."""
    file_format = content.get("format")
    if file_format != FORMAT:
        version = content.get("version", "another version")
        raise CheckpointError(
            path, f"a checkpoint of format {file_format!r}, from torchprim {version}; this reads {FORMAT}"
        )
    try:
        return NetworkConfig.from_dict(content.get("config"))
    except ValueError as error:
        raise CheckpointError(path, f"{error} (written by torchprim {content.get('version')})") from error


def first_not_finite(tensors: Mapping[str, Any]) -> str | None:
    """Return the name of the first tensor with a NaN or an infinity, None if there is none.

    Example:
        >>> import torch
        >>> from torchprim.networks.checkpoint import first_not_finite
        >>> first_not_finite({"gain": torch.ones(2), "offset": torch.tensor(float("nan"))})
        'offset'
    """
    floats = ((name, x) for name, x in tensors.items() if isinstance(x, Tensor) and x.is_floating_point())
    return next((name for name, tensor in floats if not tensor.isfinite().all()), None)


def _check_finite(path: str | os.PathLike[str], tensors: Mapping[str, Any]) -> None:
    if (name := first_not_finite(tensors)) is not None:
        raise CheckpointError(path, f"its weights are not finite ({name}): the training has diverged")


def _build(path: str | os.PathLike[str], config: NetworkConfig, state: Mapping[str, Tensor]) -> nn.Module:
    """Build a network with its weights, after a check that it is about as large as they are."""
    if config.layers > len(state):  # even without memory, a million layers take minutes
        raise RuntimeError(f"{config.layers} layers, {len(state)} tensors")
    with torch.device("meta"):
        tensors = build_network(config).state_dict().values()
    held = sum(tensor.untyped_storage().nbytes() for tensor in state.values())
    if sum(tensor.nbytes for tensor in tensors) > held + _TABLES:
        raise RuntimeError(f"{held} bytes of weights")
    _check_finite(path, state)
    with torch.random.fork_rng(devices=[]):  # keep the program's random state
        network = build_network(config)
    network.load_state_dict(state)
    return network


def _load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load the dict of a checkpoint onto the CPU, so that one written on a GPU opens everywhere."""
    try:
        with open_regular(path) as file:
            _check_sums(file)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(path, "there is no such file") from error
    except OSError as error:
        raise CheckpointError(path, error.strerror or str(error)) from error
    except Exception as error:  # unpickling foreign bytes raises errors of many types
        reason = "not enough memory" if is_out_of_memory(error) else "is not a checkpoint, or is damaged"
        raise CheckpointError(path, reason) from error
    if not isinstance(content, dict) or "network" not in content:
        raise CheckpointError(path, "is not a checkpoint of torchprim")
    return content


def _check_sums(file: BinaryIO) -> None:
    """Compare the CRC-32 of each entry of torch's zip file, which `torch.load` does not.

    Raises:
        zipfile.BadZipFile: for a file that is no zip file, or whose content has changed.
    """
    with zipfile.ZipFile(file) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise zipfile.BadZipFile("torch compresses nothing: its entries might be of any size")
        if (name := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{name} has another CRC-32")
    file.seek(0)
