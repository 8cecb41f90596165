"""From settings to a network."""

from __future__ import annotations

from torch import nn

from torchprim.networks.blstm import Blstm
from torchprim.networks.config import NetworkConfig, find_network
from torchprim.networks.unet import UNet


def build_network(config: str | NetworkConfig) -> nn.Module:
    """A network with fresh weights, from torch's global random state.

    Args:
        config: settings, or their name: `paper`, `small`, `chimera`, `unet`.

    Returns:
        A module: `network(magnitude (B, F, N), frames=None) -> NetworkOutput`; `network.config` holds
        the settings.

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
