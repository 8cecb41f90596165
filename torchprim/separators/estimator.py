"""A network's estimate of the masks of a mixture, of two sources or more, and how far to trust it."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from torchprim import checks
from torchprim.ensemble.confidence import Confidence, confidence_measure, loudest
from torchprim.ensemble.kmeans import assign_to_centres, refine_centres
from torchprim.networks.config import NetworkConfig
from torchprim.networks.run import run_network
from torchprim.separators.base import BaseSeparator, Estimate, Result
from torchprim.separators.digest import state_digest
from torchprim.spectra.mixture import Mixture
from torchprim.version import __version__

USES = ("auto", "embedding", "mask", "both")
LOUD_SHARE = 0.1  # of the bins, the points of k-means
ITERATIONS = 10
PRIOR = 1.0  # SD-SDR is within 0.05 dB of any other; the largest one, against clusters that drift
_MASK_BETA = 5.0  # hardness in the confidence of a mask: the paper's


class NetworkEstimator(BaseSeparator[Result]):
    """Base of the separators by a network, of two sources and of any: its masks, and their confidence.

    Args:
        network, anchors, use, beta, n_points, name: as for `NetworkSeparator`.
        parts: further arguments of the base that makes stems of the masks.
    """

    anchors: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        anchors: Tensor | None,
        use: str,
        beta: float | None,
        n_points: int | None,
        name: str | None,
        **parts: Any,
    ) -> None:
        config: NetworkConfig = network.config
        super().__init__(config.geometry, **parts)
        if use not in USES:
            raise ValueError(f"use must be one of {', '.join(USES)}, got {use!r}")
        if n_points is not None:
            checks.integer(n_points, "n_points", 2)
        expected = (len(config.sources), config.dimensions)
        if anchors is not None and anchors.shape != expected:
            raise ValueError(f"anchors must have shape {expected}, got {tuple(anchors.shape)}")
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
        numbers = (self.use, self.beta, self.n_points, self.spatial, LOUD_SHARE, ITERATIONS, PRIOR)
        settings = repr((__version__, name, *numbers, *self._own_settings()))
        return f"network {self.config.name} {hashlib.sha256(settings.encode()).hexdigest()[:12]}"

    def _own_settings(self) -> tuple[Any, ...]:
        """Return what `identity` depends on beside the settings of every network."""
        return ()

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
            confidence = self._mask_confidence(output.mask, batch, generator)
        masks = {name: self._masks_of(mask, magnitude) for name, mask in head_masks.items()}
        mask = sum(masks.values()) / len(masks)
        # A silent item has an embedding, too, but no meaningful confidence.
        nonzero = (batch.detach().amax((-2, -1)) > 0).reshape(shape)
        values = (torch.where(nonzero, value.reshape(shape).to(magnitude.dtype), 0) for value in confidence)
        return Estimate(mask, masks, Confidence(*values))

    @abstractmethod
    def _masks_of(self, mask: Tensor, magnitude: Tensor) -> Tensor:
        """Bring a head's mask, `(B, F, N)` or `(B, K, F, N)`, to the shape of the separator's."""

    def _mask_confidence(
        self, mask: Tensor, magnitude: Tensor, generator: torch.Generator | None
    ) -> Confidence:
        """Compute the confidence of a mask head alone: K masks are an embedding, whose centres are e_k.

        With weights of 1/2 distances are those of one mask alone with its centres 0 and 1, where K = 2.
        """
        settings = (_MASK_BETA, self.n_points)
        if (count := len(self.config.sources)) == 2:
            return confidence_measure([mask], magnitude, None, *settings, generator=generator)
        centres, weights = [[float(j == k) for j in range(count)] for k in range(count)], [0.5] * count
        masks = mask.unbind(-3)
        return confidence_measure(masks, magnitude, weights, *settings, centres=centres, generator=generator)

    def _estimate_of_none(self, mixture: Mixture, shape: torch.Size) -> Estimate:
        """Return the estimate of a batch of none: that of a silent recording without the recording."""
        silence, grid = mixture.audio.new_zeros(1, mixture.audio.shape[-1]), mixture.geometry
        mask, masks, confidence = self.estimate(Mixture(silence, grid.sample_rate, grid))

        def none(x: Tensor) -> Tensor:
            return x[:0].reshape(*shape, *x.shape[1:])

        masks = {name: none(mask) for name, mask in masks.items()}
        return Estimate(none(mask), masks, Confidence(*map(none, confidence)))

    def _centres(self, embedding: Tensor, magnitude: Tensor) -> Tensor:
        """Run k-means on the loudest bins from the anchors: `(B, F, N, D)`, `(B, F, N)` -> `(B, K, D)`."""
        points = loudest(embedding, magnitude, LOUD_SHARE)
        # `loudest` of the magnitude itself: the same bins in the same order.
        weights = loudest([magnitude.detach()], magnitude, LOUD_SHARE).squeeze(-1)
        return refine_centres(points, self.anchors, weights, ITERATIONS, PRIOR)
