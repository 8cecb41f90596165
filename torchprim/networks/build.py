"""Factory of networks: a configuration, or its name, to a module."""

from __future__ import annotations

from torch import nn

from torchprim.networks.blstm import Blstm
from torchprim.networks.config import NetworkConfig, find_network
from torchprim.networks.unet import UNet


def build_network(config: str | NetworkConfig) -> nn.Module:
    """Build a network with freshly initialised weights, drawn from torch's global random state.

    Args:
        config: a `NetworkConfig`, or a name from `NETWORKS`: `paper`, `small`, `chimera`, `unet`.

    Returns:
        A module: `network(magnitude (B, F, N), frames=None) -> NetworkOutput`, with its configuration as
        `network.config`.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> import torch, torchprim as tp
        >>> network = tp.build_network("unet").eval()
        >>> network(torch.rand(1, 1025, 20)).mask.shape
        torch.Size([1, 1025, 20])
    """
    config = find_network(config)
    return {"blstm": Blstm, "unet": UNet}[config.kind](config)
