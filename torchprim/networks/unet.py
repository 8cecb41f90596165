"""A small two-dimensional U-Net (Ronneberger et al. 2015; for singing voices Jansson et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from torchprim.ensemble.clustering import soft_assignment
from torchprim.ensemble.cues import Cues
from torchprim.ensemble.four import STEM_PRESETS, StemPreset, stem_cues
from torchprim.ensemble.preset_cues import preset_cues
from torchprim.ensemble.presets import PRESETS, Preset
from torchprim.networks.bands import Bands
from torchprim.networks.config import NetworkConfig
from torchprim.networks.energy import keep_energies, keep_energy
from torchprim.networks.features import check_input, log_features, root_mean_square
from torchprim.networks.heads import NetworkOutput, unit_mask, unit_masks
from torchprim.spectra.mixture import Mixture

_LEAST = 1e-4  # of a mask of the ensemble, and of 1 less that mask: what is surely so can still be corrected


class UNet(nn.Module):
    """Encoder of strided convolutions, decoder of transposed ones, with additive skip connections.

    Each layer halves frequency and frames by stride 2; adding rather than concatenating the skip
    connections halves the work of the decoder. Group normalisation with one group does not depend on the
    batch, so that training on several devices equals training on one. The last upsampling, to full
    resolution, is that of the heads. A learnt gain and offset of each bin, at the input and at the mask,
    depend on frequency, which convolutions do not.

    With `config.cues` the primitives' masks are further input channels, and the mask is the ensemble's
    (equation 1 of the paper) with a learnt correction of its logit that keeps the energy of the vocals, see
    `keep_energy`: training starts from the ensemble. On remixes the primitives make similar errors as on
    songs, and the sources are known. Of K sources the masks are the softmax of the ensemble's log posteriors
    with a correction of each, which keeps the energy of every source, see `keep_energies`.

    Args:
        config: with `kind="unet"`.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.networks.unet import UNet
        >>> network = UNet(tp.NetworkConfig(kind="unet", layers=3, channels=4, heads=("mask",)))
        >>> network(torch.rand(2, 1025, 7)).mask.shape
        torch.Size([2, 1025, 7])
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.bands = Bands(config.geometry.bins, config.fine or config.geometry.bins, config.coarse)
        bins = self.bands.rows
        self.preset = {**PRESETS, **STEM_PRESETS}[config.cues] if config.cues else None
        self.cues = _cues(self.preset)
        widths = [config.channels * min(2**i, 4) for i in range(config.layers)]
        kernel_sizes = [5] + [3] * (config.layers - 1)
        self.gain = nn.Parameter(torch.ones(bins, 1))
        self.offset = nn.Parameter(torch.zeros(bins, 1))
        self.down, self.down_norm = nn.ModuleList(), nn.ModuleList()
        self.up, self.up_norm = nn.ModuleList(), nn.ModuleList()
        self.context = nn.ModuleList()
        for i, (width, size) in enumerate(zip(widths, kernel_sizes, strict=True)):
            previous = widths[i - 1] if i else (1 + len(self.cues.names)) * (3 if config.context else 1)
            self.down.append(nn.Conv2d(previous, width, size, stride=2, padding=size // 2))
            self.down_norm.append(nn.GroupNorm(1, width))
            if config.context:
                self.context.append(AxialContext(width))
            if i:
                self.up.append(nn.ConvTranspose2d(width, previous, size, stride=2, padding=size // 2))
                self.up_norm.append(nn.GroupNorm(1, previous))
        self.dropout = nn.Dropout2d(config.dropout)
        if "embedding" in config.heads:
            # One frame of the maps gives two frames of the output, so that a few can be embedded alone.
            self.embedding_head = nn.ConvTranspose2d(
                widths[0], 2 * config.dimensions, (5, 1), stride=(2, 1), padding=(2, 0)
            )
        if "mask" in config.heads:
            self.mask_head = nn.ConvTranspose2d(widths[0], config.masks, 5, stride=2, padding=2)
            shape = (bins, 1) if config.masks == 1 else (config.masks, bins, 1)
            # A correction of the ensemble's mask starts small.
            self.mask_gain = nn.Parameter(torch.full(shape, 0.1 if config.cues else 1.0))
            self.mask_offset = nn.Parameter(torch.zeros(shape))

    def cue_masks(self, mixture: Mixture) -> Tensor | None:
        """Compute the primitives' masks `(B, C, F, N)` of a batch; None for a network without cues."""
        if not self.cues.names:
            return None
        masks = torch.stack(list(self.cues(mixture).values()), -3)
        return masks.reshape(-1, *masks.shape[-3:]).to(self.gain.dtype)

    def _features(self, magnitude: Tensor, cues: Tensor | None) -> Tensor:
        """Compute the input of the convolutions, `(B, 1 + C, R, N)`, see `Bands`; with context 3 (1 + C)."""
        rows = log_features(self.bands.reduce(magnitude), root_mean_square(magnitude))
        rows = (rows * self.gain + self.offset).unsqueeze(-3)
        if cues is not None:
            rows = torch.cat([rows, 4 * self.bands.average(cues) - 2], -3)
        return _with_context(rows) if self.config.context else rows

    def _maps(self, magnitude: Tensor, cues: Tensor | None) -> Tensor:
        """Compute the feature maps that the heads share, `(B, C, R / 2, N / 2)` rounded up."""
        # Twice as fast on a CPU as channels first.
        x = self._features(magnitude, cues).contiguous(memory_format=torch.channels_last)
        skips = []
        for i, (convolution, norm) in enumerate(zip(self.down, self.down_norm, strict=True)):
            x = leaky_relu(norm(convolution(x)), 0.2)
            if self.context:
                x = self.context[i](x)
            skips.append(x)
        x = self.dropout(x)
        for i in reversed(range(len(self.up))):
            # The encoder rounds sizes up: the decoder takes over its sizes, for any F and N.
            x = self.up[i](x, output_size=skips[i].shape[-2:])
            x = leaky_relu(self.up_norm[i](x), 0.2) + skips[i]
        return x

    def _ensemble_logit(self, cues: Tensor) -> Tensor:
        """Compute the logit of the ensemble's mask, `(B, F, N)`; of K sources the logits `(B, K, F, N)`."""
        masks, weights = cues.unbind(-3), [self.preset.weights[name] for name in self.cues.names]
        if self.config.masks == 1:
            return torch.logit(soft_assignment(masks, weights, self.preset.beta), eps=_LEAST)
        centres = list(self.preset.centres.values())
        posteriors = soft_assignment(masks, weights, self.preset.beta, centres=centres)
        return torch.log(posteriors.clamp(min=_LEAST))

    def _masks(self, maps: Tensor, magnitude: Tensor, cues: Tensor | None, size: torch.Size) -> Tensor:
        """Compute the mask `(B, F, N)`, or `(B, K, F, N)`, from the feature maps."""
        logits, several = self.mask_head(maps, output_size=size), self.config.masks > 1
        logits = logits if several else logits.squeeze(1)
        logits = self.bands.expand(logits * self.mask_gain + self.mask_offset, -2)
        if cues is not None:
            keep = keep_energies if several else keep_energy
            logits = keep(self._ensemble_logit(cues), logits.float(), magnitude)
        return unit_masks(logits) if several else unit_mask(logits)

    def _embedding_logits(self, maps: Tensor, size: torch.Size, frames: Tensor | None) -> Tensor:
        """Compute the logits `(B, R, K, D)` of the chosen frames, or of all."""
        chosen = maps if frames is None else maps.index_select(-1, frames // 2)
        logits = self.embedding_head(chosen, output_size=(size[0], chosen.shape[-1]))  # (B, 2 D, F, K)
        logits = logits.unflatten(1, (2, self.config.dimensions)).permute(0, 3, 4, 1, 2)  # (B, F, K, 2, D)
        if frames is None:
            return logits.flatten(2, 3)[:, :, : size[1]]
        odd = (frames % 2).view(1, 1, -1, 1, 1).expand(*logits.shape[:3], 1, logits.shape[-1])
        return logits.gather(3, odd).squeeze(3)

    def forward(
        self, magnitude: Tensor, frames: Tensor | None = None, cues: Tensor | None = None
    ) -> NetworkOutput:
        """Compute embedding and mask of each bin.

        Args:
            magnitude: `(B, F, N)` of mixtures, at any level; any N.
            frames: `(K,)`, integer indices of the frames to embed; by default all.
            cues: `(B, C, F, N)`, `cue_masks` of the same mixtures, for a network with cues.

        Returns:
            A `NetworkOutput`, float32 also under autocast.

        Raises:
            ValueError: for a number of cues that is not the network's, or a magnitude of another shape or
                precision, see `check_input`.
        """
        check_input(magnitude, self.bands.bins, self.gain)
        wanted, given = len(self.cues.names), 0 if cues is None else cues.shape[-3]
        if given != wanted:
            raise ValueError(f"the network sees {wanted} cues, got {given}; see `cue_masks`")
        maps, size = self._maps(magnitude, cues), torch.Size([self.bands.rows, magnitude.shape[-1]])
        logits = mask = None
        if "embedding" in self.config.heads:
            logits = self.bands.expand(self._embedding_logits(maps, size, frames), 1)
        if "mask" in self.config.heads:
            mask = self._masks(maps, magnitude, cues, size)
        return NetworkOutput(mask=mask, logits=logits)


class AxialContext(nn.Module):
    """Add to each position what its row has in common over all frames, and its frame over all rows.

    Y = X + W_t mean_t X + W_f mean_f X with pointwise convolutions W, which start at 0; compare Squeeze-and-
    Excitation (Hu et al. 2018) and coordinate attention (Hou et al. 2021). A stack of small convolutions sees
    neither a whole excerpt nor a whole frame: whether a voice sings is seen in all bins, what accompanies it
    in all frames.

    Args:
        channels: C.

    Example:
        >>> import torch
        >>> from torchprim.networks.unet import AxialContext
        >>> AxialContext(4)(torch.rand(2, 4, 9, 7)).shape
        torch.Size([2, 4, 9, 7])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.time = nn.Conv2d(channels, channels, 1)
        self.frequency = nn.Conv2d(channels, channels, 1)
        for convolution in (self.time, self.frequency):
            nn.init.zeros_(convolution.weight)
            nn.init.zeros_(convolution.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Add both to maps `(B, C, R, N)`."""
        return x + self.time(x.mean(-1, keepdim=True)) + self.frequency(x.mean(-2, keepdim=True))


def _cues(preset: Preset | StemPreset | None) -> Cues:
    """Build the cues that a network sees; none without a preset."""
    if isinstance(preset, StemPreset):
        return stem_cues(preset)
    return preset_cues(preset or PRESETS["best"], () if preset is None else preset.active_weights)


def _with_context(x: Tensor) -> Tensor:
    """Append to channels `(B, C, R, N)` their mean over all frames, and their mean over all rows."""
    return torch.cat([x, x.mean(-1, keepdim=True).expand_as(x), x.mean(-2, keepdim=True).expand_as(x)], -3)
