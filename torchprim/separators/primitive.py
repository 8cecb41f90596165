"""Separation by the ensemble of primitives."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchprim import checks
from torchprim.ensemble.clustering import checked_weights
from torchprim.ensemble.confidence import Confidence, confidence_measure
from torchprim.ensemble.cues import Cues
from torchprim.ensemble.find_preset import find_preset
from torchprim.ensemble.preset_cues import preset_cues
from torchprim.ensemble.presets import PRIMITIVES, Preset
from torchprim.kernels.clustering.soft_assignment import assign
from torchprim.kernels.mask_dtype import mask_dtype
from torchprim.separators.base import Estimate, Separator
from torchprim.separators.cue_identity import cues_digest
from torchprim.spectra.mixture import Mixture
from torchprim.version import __version__

METHODS = ("pcl", *PRIMITIVES)


class PrimitiveSeparator(Separator):
    """Separator by primitive clustering (sections 2 and 3.1 of the paper): cues, equation 1, confidence.

    Calls accept `weights` and `beta`, too, as tensors that receive gradients; so do `masks`, `estimate` and
    `confidence`. Settings of the cues are attributes: after `separator.cues["hpss"].primitive.power =
    nn.Parameter(...)` the power is among `separator.parameters()`.

    Args:
        preset: `best`, `paper`, `companion`, a `Preset`, or the name of one of your own, see `find_preset`.
            `tp.PRESETS["best"].plus("mine", cue)` is one with a cue of your own.
        method: `pcl` for the ensemble, or the name of a primitive or of a cue of the preset's own, to use its
            mask alone, without the spatial cue.
        n_points: bins sampled for the silhouette; None for all of the loudest 1 %.
        changes: fields of the preset to replace, such as `beta=3.0`.

    Raises:
        ValueError: for an unknown preset or method, or a setting out of range; when called, for a mask of
            your own cue that is none, see `Cues`.

    Example:
        >>> import torch, torchprim as tp
        >>> separator = tp.PrimitiveSeparator("best")
        >>> song = torch.randn(2, 44100)  # stereo
        >>> stems = separator(song, 44100, channels=True)
        >>> stems.vocals.shape, stems.mask.shape, stems.confidence.shape
        (torch.Size([2, 44100]), torch.Size([1025, 87]), torch.Size([]))
        >>> torch.allclose(stems.vocals + stems.accompaniment, song, atol=1e-5)
        True
    """

    def __init__(
        self,
        preset: str | Preset = "best",
        method: str = "pcl",
        n_points: int | None = 1000,
        **changes: Any,
    ) -> None:
        if n_points is not None:
            checks.integer(n_points, "n_points", 2)
        preset = find_preset(preset)
        unknown = set(changes) - {field.name for field in dataclasses.fields(Preset)}
        if unknown:
            raise ValueError(f"a preset has no field {sorted(unknown)[0]!r}")
        preset = dataclasses.replace(preset, **changes)
        methods = (*METHODS, *preset.cues)
        if method not in methods:
            raise ValueError(f"unknown method {method!r}; there are {', '.join(methods)}")
        super().__init__(preset.geometry, preset.spatial if method == "pcl" else 0.0)
        self.preset = preset
        self.method = method
        self.n_points = n_points
        weights = preset.active_weights if method == "pcl" else {method: 1.0}
        self.cues: Cues = preset_cues(preset, weights)
        # With cues of one's own the digest is part of every identity; computed then: weights may be learnt.
        self._preset_digest = None if preset.cues else cues_digest(self.cues)
        self._weights = list(weights.values())  # torch.compile cannot trace a preset's read-only mapping

    @property
    def identity(self) -> str:
        """Method, preset, and a digest of version and settings; cache key of the labels.

        Where cues are one's own, were replaced, or their settings changed or learnt, a digest of the cues
        follows, see `cue_identity`.

        Raises:
            ValueError: for a cue whose results nothing stable stands for; it is named.
        """
        settings = repr((__version__, self.preset, self.n_points, self.spatial)).encode()
        cues = cues_digest(self.cues)
        changed = "" if cues == self._preset_digest else f" {cues}"
        return f"{self.method} {self.preset.name} {hashlib.sha256(settings).hexdigest()[:12]}{changed}"

    def cue_weights(self) -> list[float]:
        """Return the preset's weights of equation 1, in the order of the masks."""
        return list(self._weights)

    def cue_masks(self, mixture: Mixture) -> dict[str, Tensor]:
        """Compute the mask of each cue, `(..., F, N)`, by name."""
        masks = self.cues(mixture)
        wanted = self.preset.mask_dtype
        return (
            masks if wanted is None else {n: m.to(mask_dtype(wanted, m.dtype, m)) for n, m in masks.items()}
        )

    def masks(
        self,
        mixture: Mixture,
        *,
        weights: Sequence[float] | Tensor | None = None,
        beta: float | Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the mask of a mixture on the preset's grid.

        Args:
            mixture: caches the cues' masks; create a new one whenever a cue's setting has changed.
            weights: `(D,)` of equation 1, in the order of the masks; the preset's by default.
            beta: hardness of equation 1; the preset's by default.

        Returns:
            The mask, `(..., F, N)`, and the mask of each cue by name.
        """
        masks = self.cue_masks(mixture)
        if self.method != "pcl":
            return masks[self.method], masks
        embedding = list(masks.values())
        weights, beta = self._clustering(weights, beta)
        weights = checked_weights(weights, len(embedding), embedding[0])
        return assign(embedding, weights, beta, mixture.magnitude()), masks

    def _clustering(
        self, weights: Sequence[float] | Tensor | None, beta: float | Tensor | None
    ) -> tuple[Sequence[float] | Tensor, float | Tensor]:
        """Return weights and beta of equation 1, the preset's by default."""
        weights = self.cue_weights() if weights is None else weights
        return weights, self.preset.beta if beta is None else checks.positive(beta, "beta")

    def confidence(
        self,
        masks: dict[str, Tensor],
        mixture: Mixture,
        generator: torch.Generator | None = None,
        *,
        weights: Sequence[float] | Tensor | None = None,
        beta: float | Tensor | None = None,
    ) -> Confidence:
        """Compute the confidence of the clustering of `masks`; weights and beta as in `masks`."""
        weights, beta = self._clustering(weights, beta)
        settings = {"generator": generator, "maxima": mixture.maxima()}
        embedding = list(masks.values())
        return confidence_measure(embedding, mixture.magnitude(), weights, beta, self.n_points, **settings)

    def estimate(
        self,
        mixture: Mixture,
        generator: torch.Generator | None = None,
        *,
        weights: Sequence[float] | Tensor | None = None,
        beta: float | Tensor | None = None,
    ) -> Estimate:
        """Estimate the mask and its confidence; weights and beta as in `masks`."""
        mask, masks = self.masks(mixture, weights=weights, beta=beta)
        confidence = self.confidence(masks, mixture, generator, weights=weights, beta=beta)
        return Estimate(mask, masks, confidence)
