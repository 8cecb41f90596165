"""Separation by a trained network, alone or as one more cue beside the primitives."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from torchprim import checks
from torchprim.ensemble.confidence import Confidence, confidence_measure, loudest
from torchprim.ensemble.kmeans import assign_to_centres, refine_centres
from torchprim.ensemble.presets import Preset
from torchprim.kernels.mask_dtype import mask_dtype
from torchprim.networks.config import NetworkConfig
from torchprim.networks.run import run_network
from torchprim.separators.base import Estimate, Separator
from torchprim.separators.digest import state_digest
from torchprim.separators.primitive import PrimitiveSeparator
from torchprim.spectra.mixture import Mixture
from torchprim.spectra.regrid import regrid
from torchprim.version import __version__

USES = ("auto", "embedding", "mask", "both")
LOUD_SHARE = 0.1  # of the bins, the points of k-means
ITERATIONS = 10
PRIOR = 1.0  # SD-SDR is within 0.05 dB of any other; the largest one, against clusters that drift
_MASK_BETA = 5.0  # hardness in the confidence of a mask: the paper's


class NetworkSeparator(Separator):
    """Separator by a trained network, with the interface of `PrimitiveSeparator`.

    Embedding head: k-means on the loudest bins, weighted by magnitude, initialised at the checkpoint's
    anchors with a prior at each, so that the order of the clusters is known without ground truth; then every
    bin is assigned softly by equation 1. Mask head: its mask. The confidence is the paper's measure in that
    clustering, or with the mask head alone in the mask as an embedding of one dimension.

    Args:
        network: from `build_network`, trained.
        anchors: `(2, D)`, mean embedding of accompaniment and of vocals in training.
        use: `embedding`, `mask`, `both` (the mean of the two), or `auto`: the mask head if there is one (in
            a small network with both it was better by 0.5 dB than the embedding, by 0.15 than both).
        beta: hardness of the assignment; the network's setting by default.
        n_points: bins sampled for the silhouette; None for all of the loudest 1 %.
        name: identifies the network in `identity`; a digest of the weights by default.
        spatial: strength of the spatial cue, which refines the mask of two channels; 0 for none.

    Raises:
        ValueError: for a use that the network's heads or the anchors do not allow, or a number out of range.

    Example:
        >>> import torch, torchprim as tp
        >>> separator = tp.NetworkSeparator(tp.build_network("unet").eval())
        >>> with torch.inference_mode():
        ...     stems = separator(torch.randn(44100), 44100)
        >>> stems.vocals.shape, stems.mask.shape, list(stems.masks)
        (torch.Size([44100]), torch.Size([1025, 87]), ['mask'])
    """

    anchors: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        anchors: Tensor | None = None,
        use: str = "auto",
        beta: float | None = None,
        n_points: int | None = 1000,
        name: str | None = None,
        spatial: float = 2.0,
    ) -> None:
        config: NetworkConfig = network.config
        super().__init__(config.geometry, spatial)
        if use not in USES:
            raise ValueError(f"use must be one of {', '.join(USES)}, got {use!r}")
        if n_points is not None:
            checks.integer(n_points, "n_points", 2)
        if anchors is not None and anchors.shape != (2, config.dimensions):
            raise ValueError(f"anchors must have shape (2, {config.dimensions}), got {tuple(anchors.shape)}")
        can_cluster = "embedding" in config.heads and anchors is not None
        if use == "auto":
            use = "mask" if "mask" in config.heads else "embedding"
        if use != "mask" and not can_cluster:
            missing = "embedding head" if "embedding" not in config.heads else "anchors"
            raise ValueError(f"use={use!r} needs an embedding with anchors; the network has no {missing}")
        if use != "embedding" and "mask" not in config.heads:
            raise ValueError(f"use={use!r} needs a mask head; the network has none")
        self.network: nn.Module = network
        self.config: NetworkConfig = config
        self.use: str = use
        self.beta: float = checks.positive(config.beta if beta is None else beta, "beta")
        self.n_points = n_points
        self.name = name
        self._can_cluster = can_cluster
        self.register_buffer("anchors", anchors)

    @property
    def identity(self) -> str:
        """Name of the network, and a digest of version, weights and settings."""
        name = self.name or state_digest(self)
        settings = repr(
            (
                __version__,
                name,
                self.use,
                self.beta,
                self.n_points,
                self.spatial,
                LOUD_SHARE,
                ITERATIONS,
                PRIOR,
            )
        )
        return f"network {self.config.name} {hashlib.sha256(settings.encode()).hexdigest()[:12]}"

    def estimate(self, mixture: Mixture, generator: torch.Generator | None = None) -> Estimate:
        """Estimate the mask and its confidence; `masks` holds the mask of each head that is used."""
        magnitude = mixture.magnitude()
        shape = magnitude.shape[:-2]
        if 0 in shape:
            return self._estimate_of_none(mixture, shape)
        batch = magnitude.reshape(-1, *magnitude.shape[-2:])
        output = run_network(self.network, batch.to(next(self.network.parameters()).dtype), mixture)
        head_masks: dict[str, Tensor] = {}
        confidence: Confidence | None = None
        if output.embedding is not None and self._can_cluster:
            centres = self._centres(output.embedding, batch)
            if self.use != "mask":
                head_masks["embedding"] = assign_to_centres(output.embedding, centres, self.beta)
            confidence = confidence_measure(
                output.embedding, batch, None, self.beta, self.n_points, centres=centres, generator=generator
            )
        if self.use != "embedding":
            head_masks["mask"] = output.mask
        if confidence is None:
            confidence = confidence_measure(
                [output.mask], batch, None, _MASK_BETA, self.n_points, generator=generator
            )
        masks = {
            name: torch.where(magnitude > 0, mask.reshape(magnitude.shape).to(magnitude.dtype), 0)
            for name, mask in head_masks.items()
        }
        mask = sum(masks.values()) / len(masks)
        # A silent item has an embedding, too, but no meaningful confidence.
        nonzero = (batch.detach().amax((-2, -1)) > 0).reshape(shape)
        values = (torch.where(nonzero, value.reshape(shape).to(magnitude.dtype), 0) for value in confidence)
        return Estimate(mask, masks, Confidence(*values))

    def _estimate_of_none(self, mixture: Mixture, shape: torch.Size) -> Estimate:
        """Return the estimate of a batch of none: that of a silent recording without the recording."""
        silence, grid = mixture.audio.new_zeros(1, mixture.audio.shape[-1]), mixture.geometry
        mask, masks, confidence = self.estimate(Mixture(silence, grid.sample_rate, grid))

        def none(x: Tensor) -> Tensor:
            return x[:0].reshape(*shape, *x.shape[1:])

        masks = {name: none(mask) for name, mask in masks.items()}
        return Estimate(none(mask), masks, Confidence(*map(none, confidence)))

    def _centres(self, embedding: Tensor, magnitude: Tensor) -> Tensor:
        """Run k-means on the loudest bins from the anchors: `(B, F, N, D)`, `(B, F, N)` -> `(B, 2, D)`."""
        points = loudest(embedding, magnitude, LOUD_SHARE)
        # `loudest` of the magnitude itself: the same bins in the same order.
        weights = loudest([magnitude.detach()], magnitude, LOUD_SHARE).squeeze(-1)
        return refine_centres(points, self.anchors, weights, ITERATIONS, PRIOR)

    def mask_on_grid_of(self, mixture: Mixture) -> Tensor:
        """Compute the mask on the grid of a mixture, by interpolation if that is not the network's grid."""
        if mixture.geometry == self.geometry:
            return self.estimate(mixture).mask
        resampled = Mixture(mixture.audio, mixture.geometry.sample_rate, self.geometry)
        magnitude = mixture.magnitude()
        mask = regrid(
            self.estimate(resampled).mask, self.geometry, mixture.geometry, frames=magnitude.shape[-1]
        )
        return torch.where(magnitude > 0, mask, 0)

    def with_primitives(
        self, preset: str | Preset = "best", weight: float | None = None, **changes: Any
    ) -> EnsembleSeparator:
        """Combine this network with the primitives of a preset, see `EnsembleSeparator`."""
        return EnsembleSeparator(self, preset, weight, **changes)


class EnsembleSeparator(PrimitiveSeparator):
    """Separator by the ensemble of primitives with a network's mask as one more cue in equation 1.

    Args:
        network: a `NetworkSeparator`.
        preset: of the primitives.
        weight: of the network's mask; by default an eighth of the primitives' total, see docs/training.md.
            The better the network, the larger the optimal weight.
        n_points: bins sampled for the silhouette; None for all of the loudest 1 %.
        changes: fields of the preset to replace.

    Raises:
        ValueError: for an unknown preset or field, or a weight that is not positive.

    Example:
        >>> import torch, torchprim as tp
        >>> network = tp.NetworkSeparator(tp.build_network("unet").eval())
        >>> separator = network.with_primitives("paper")
        >>> with torch.inference_mode():
        ...     list(separator(torch.randn(44100), 44100).masks)
        ['2dft-r', '2dft-m', 'melody', 'hpss', 'network']
    """

    def __init__(
        self,
        network: NetworkSeparator,
        preset: str | Preset = "best",
        weight: float | None = None,
        n_points: int | None = 1000,
        **changes: Any,
    ) -> None:
        super().__init__(preset, "pcl", n_points, **changes)
        weight = sum(super().cue_weights()) / 8 if weight is None else weight
        self.weight: float = checks.positive(weight, "weight")
        self.network: NetworkSeparator = network

    @property
    def identity(self) -> str:
        """Identity of the primitives, and that of the network with its weight."""
        return f"{super().identity} + {self.weight:g} {self.network.identity}"

    def cue_weights(self) -> list[float]:
        """Return the weights of equation 1, in the order of the masks."""
        return [*super().cue_weights(), self.weight]

    def cue_masks(self, mixture: Mixture) -> dict[str, Tensor]:
        """Compute the masks of the primitives and of the network, `(..., F, N)`, by name."""
        mask = self.network.mask_on_grid_of(mixture)
        dtype = mask_dtype(self.preset.mask_dtype, mask.dtype, mask)
        return {**super().cue_masks(mixture), "network": mask.to(dtype)}
