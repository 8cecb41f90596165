"""Separation by a trained network, alone or as one more cue beside the primitives."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from torchprim import checks
from torchprim.ensemble.presets import Preset
from torchprim.kernels.mask_dtype import mask_dtype
from torchprim.separators.base import Separator
from torchprim.separators.estimator import NetworkEstimator
from torchprim.separators.primitive import PrimitiveSeparator
from torchprim.separators.separation import Separation, StemSeparation
from torchprim.separators.stem_base import BaseStemSeparator
from torchprim.sources import TWO
from torchprim.spectra.mixture import Mixture
from torchprim.spectra.regrid import regrid


class NetworkSeparator(NetworkEstimator[Separation], Separator):
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
        ValueError: for a network of other sources, a use that its heads or the anchors do not allow, or a
            number out of range.

    Example:
        >>> import torch, torchprim as tp
        >>> separator = tp.NetworkSeparator(tp.build_network("unet").eval())
        >>> with torch.inference_mode():
        ...     stems = separator(torch.randn(44100), 44100)
        >>> stems.vocals.shape, stems.mask.shape, list(stems.masks)
        (torch.Size([44100]), torch.Size([1025, 87]), ['mask'])
    """

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
        if network.config.sources != TWO:
            raise ValueError(
                f"a NetworkSeparator is of {' and '.join(TWO)}, and the network of "
                f"{', '.join(network.config.sources)}: see NetworkStemSeparator"
            )
        super().__init__(network, anchors, use, beta, n_points, name, spatial=spatial)

    def _masks_of(self, mask: Tensor, magnitude: Tensor) -> Tensor:
        return torch.where(magnitude > 0, mask.reshape(magnitude.shape).to(magnitude.dtype), 0)

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


class NetworkStemSeparator(NetworkEstimator[StemSeparation], BaseStemSeparator):
    """Separator by a network of other sources than vocals and accompaniment: a stem of each.

    As `NetworkSeparator`, with K masks that add up to 1, also where the mixture is silent. The confidence of
    the mask head alone is that of the masks as an embedding, whose centres are the unit vectors.

    Args:
        network: from `build_network`, trained.
        anchors: `(K, D)`, mean embedding of each source in training.
        use, beta, n_points, name: as for `NetworkSeparator`.
        rest: the stem that is the mixture minus all others; by default `other`, where there is none the last.

    Raises:
        ValueError: for a network of vocals and accompaniment, a `rest` that is no source, or as for
            `NetworkSeparator`.

    Example:
        >>> import torch, torchprim as tp
        >>> config = tp.NetworkConfig(kind="unet", heads=("mask",), sources=("strings", "brass", "other"))
        >>> separator = tp.NetworkStemSeparator(tp.build_network(config).eval())
        >>> with torch.inference_mode():
        ...     result = separator(torch.randn(2, 44100), 44100, channels=True)
        >>> list(result.stems), result.mask.shape, separator.rest
        (['strings', 'brass', 'other'], torch.Size([3, 1025, 87]), 'other')
    """

    def __init__(
        self,
        network: nn.Module,
        anchors: Tensor | None = None,
        use: str = "auto",
        beta: float | None = None,
        n_points: int | None = 1000,
        name: str | None = None,
        rest: str | None = None,
    ) -> None:
        sources = network.config.sources
        if sources == TWO:
            raise ValueError(f"the network is of {' and '.join(TWO)}: see NetworkSeparator")
        if rest is None:
            rest = "other" if "other" in sources else sources[-1]
        super().__init__(network, anchors, use, beta, n_points, name, sources=sources, rest=rest)

    def _own_settings(self) -> tuple[Any, ...]:
        return self.sources, self.rest

    def _masks_of(self, mask: Tensor, magnitude: Tensor) -> Tensor:
        if len(self.sources) == 2:
            mask = torch.stack([mask, 1 - mask], -3)  # in the order of the stems: class 1 is the first
        return mask.reshape(*magnitude.shape[:-2], *mask.shape[-3:]).to(magnitude.dtype)

    def with_primitives(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: the ensemble of primitives is of vocals and accompaniment.

        Raises:
            ValueError: always.
        """
        raise _no_ensemble(self.sources)


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
        ValueError: for a network of other sources, an unknown preset or field, or a weight that is not
            positive.

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
        if network.sources != TWO:
            raise _no_ensemble(network.sources)
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


def _no_ensemble(sources: tuple[str, ...]) -> ValueError:
    return ValueError(
        f"the primitives' ensemble is of {' and '.join(TWO)}, the network of {', '.join(sources)}"
    )
