"""Run a network on mixtures, with the primitives' masks if it has them as input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchprim.networks.heads import NetworkOutput
from torchprim.spectra.mixture import Mixture


def run_network(
    network: nn.Module, magnitude: Tensor, mixture: Mixture, frames: Tensor | None = None
) -> NetworkOutput:
    """Call `network(magnitude, frames)`, with the primitives' masks as `cues` if it has them as input.

    Args:
        network: from `build_network`, bare or in DistributedDataParallel; or any module, which is given
            cues if it has a method `cue_masks(mixture)`.
        magnitude: `(B, F, N)`.
        mixture: the same B mixtures, for the primitives.
        frames: `(K,)`, indices of the frames to embed; None for all.

    Returns:
        A `NetworkOutput`.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.networks.run import run_network
        >>> mixture = tp.Mixture(torch.randn(1, 22050), 44100)
        >>> network = tp.build_network("small").eval()  # with the cues of the preset `best`
        >>> run_network(network, mixture.magnitude(), mixture).mask.shape
        torch.Size([1, 1025, 44])
    """
    bare = getattr(network, "module", network)
    if not hasattr(bare, "cue_masks"):
        return network(magnitude, frames)
    with torch.no_grad(), torch.autocast(magnitude.device.type, enabled=False):
        cues = bare.cue_masks(mixture)
    return network(magnitude, frames) if cues is None else network(magnitude, frames, cues)
