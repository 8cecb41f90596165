"""Bidirectional LSTM, the paper's network: an embedding of every bin (Hershey et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchprim.networks.config import NetworkConfig
from torchprim.networks.features import check_input, log_features, mel_filter_bank, root_mean_square
from torchprim.networks.heads import NetworkOutput, unit_mask, unit_masks
from torchprim.networks.padding import padded_linear
from torchprim.networks.recurrent import DropoutLstm


class Blstm(nn.Module):
    """Bidirectional LSTM over frames, with linear heads for an embedding of every bin, masks, or both.

    Log magnitude (of linear bins, or of mel bands as in the authors' later code), a learnt gain and offset
    of each band, a linear projection if `config.projection`, the recurrent layers, and heads at linear
    frequency.

    Args:
        config: with `kind="blstm"`.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.networks.blstm import Blstm
        >>> network = Blstm(tp.NetworkConfig(layers=1, hidden=8, heads=("embedding", "mask")))
        >>> output = network(torch.rand(2, 1025, 7))
        >>> output.embedding.shape, output.mask.shape
        (torch.Size([2, 1025, 7, 20]), torch.Size([2, 1025, 7]))
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        bins = config.geometry.bins
        bands = config.mel or bins
        if config.mel:
            bank = mel_filter_bank(config.mel, bins, config.geometry.sample_rate)
            # Not persistent: a checkpoint has the settings that it is computed from.
            self.register_buffer("mel_bank", bank, persistent=False)
        self.gain = nn.Parameter(torch.ones(bands))
        self.offset = nn.Parameter(torch.zeros(bands))
        self.projection = nn.Linear(bands, config.projection) if config.projection else nn.Identity()
        inputs = config.projection or bands
        self.recurrent = DropoutLstm(inputs, config.hidden, config.layers, config.dropout)
        if "embedding" in config.heads:
            self.embedding_head = nn.Linear(2 * config.hidden, bins * config.dimensions)
        if "mask" in config.heads:
            self.mask_head = nn.Linear(2 * config.hidden, config.masks * bins)

    def _features(self, magnitude: Tensor) -> Tensor:
        """Compute the input of the recurrent layers, `(B, N, bands)`."""
        level = root_mean_square(magnitude)
        if self.config.mel:
            with torch.autocast(magnitude.device.type, enabled=False):
                magnitude = self.mel_bank.to(magnitude.dtype) @ magnitude
        return log_features(magnitude, level).transpose(-2, -1) * self.gain + self.offset

    def forward(self, magnitude: Tensor, frames: Tensor | None = None) -> NetworkOutput:
        """Compute embedding and mask of each bin.

        Args:
            magnitude: `(B, F, N)` of mixtures, at any level; any N.
            frames: `(K,)`, integer indices of the frames to embed; by default all. The clustering loss
                needs few of them, and the embedding head is the most expensive layer.

        Returns:
            A `NetworkOutput`, float32 also under autocast.

        Raises:
            ValueError: for a magnitude of another shape or precision, see `check_input`.
        """
        check_input(magnitude, self.config.geometry.bins, self.gain)
        hidden = self.recurrent(self.projection(self._features(magnitude)))  # (B, N, 2 H)
        logits = mask = None
        if "embedding" in self.config.heads:
            chosen = hidden if frames is None else hidden.index_select(1, frames)
            logits = padded_linear(self.embedding_head, chosen)
            logits = logits.unflatten(-1, (magnitude.shape[-2], self.config.dimensions)).transpose(1, 2)
        if "mask" in self.config.heads:
            mask_logits = padded_linear(self.mask_head, hidden)
            if self.config.masks == 1:
                mask = unit_mask(mask_logits).transpose(1, 2)
            else:
                mask_logits = mask_logits.unflatten(-1, (self.config.masks, magnitude.shape[-2]))
                mask = unit_masks(mask_logits.permute(0, 2, 3, 1))  # (B, K, F, N)
        return NetworkOutput(mask=mask, logits=logits)
