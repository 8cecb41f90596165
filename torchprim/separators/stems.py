"""Separation into any number of stems, such as drums, bass, other and vocals, with no training."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchprim import checks
from torchprim.ensemble.clustering import soft_assignment
from torchprim.ensemble.confidence import confidence_measure
from torchprim.ensemble.cues import Cues
from torchprim.ensemble.find_preset import find_stem_preset
from torchprim.ensemble.four import FOUR, StemPreset, stem_cues
from torchprim.separators.digest import state_digest
from torchprim.separators.piecewise import Estimate
from torchprim.separators.stem_base import BaseStemSeparator
from torchprim.spectra.mixture import Mixture
from torchprim.version import __version__


class StemSeparator(BaseStemSeparator):
    """Separator into K stems by primitive clustering: cues, equation 1 with K centres, confidence.

    By default drums, bass, other and vocals, named as in MUSDB18; see `torchprim.ensemble.four` for where
    their centres lie and why. Calls accept `weights`, `beta` and `centres`, too, as tensors that receive
    gradients. Long recordings are separated in pieces, as by `PrimitiveSeparator`.

    Args:
        preset: axes, centres, weights; or its name, see `find_stem_preset`.
        n_points: bins sampled for the silhouette; None for all of the loudest 1 %.
        changes: fields of the preset to replace, such as `beta=3.0`.

    Raises:
        ValueError: for an unknown field, or a setting out of range.

    Example:
        >>> import torch, torchprim as tp
        >>> separator = tp.StemSeparator()
        >>> song = torch.randn(2, 44100)  # stereo
        >>> result = separator(song, 44100, channels=True)
        >>> list(result.stems), result.stems["bass"].shape, result.mask.shape
        (['drums', 'bass', 'other', 'vocals'], torch.Size([2, 44100]), torch.Size([4, 1025, 87]))
        >>> torch.allclose(sum(result.stems.values()), song, atol=1e-5)
        True
    """

    def __init__(self, preset: str | StemPreset = FOUR, n_points: int | None = 1000, **changes: Any) -> None:
        preset = find_stem_preset(preset)
        if n_points is not None:
            checks.integer(n_points, "n_points", 2)
        unknown = set(changes) - {field.name for field in dataclasses.fields(StemPreset)}
        if unknown:
            raise ValueError(f"a preset has no field {sorted(unknown)[0]!r}")
        preset = dataclasses.replace(preset, **changes)
        super().__init__(preset.geometry, preset.sources, preset.rest)
        self.preset: StemPreset = preset
        self.n_points: int | None = n_points
        self.cues: Cues = stem_cues(preset)
        # torch.compile cannot trace a preset's read-only mapping.
        self._weights, self._centres = list(preset.weights.values()), list(preset.centres.values())

    @property
    def identity(self) -> str:
        """Preset, and a digest of version, settings and cues."""
        settings = repr((__version__, self.preset, self.n_points, self.cues, state_digest(self.cues)))
        return f"stems {self.preset.name} {hashlib.sha256(settings.encode()).hexdigest()[:12]}"

    def estimate(
        self,
        mixture: Mixture,
        generator: torch.Generator | None = None,
        *,
        weights: Sequence[float] | Tensor | None = None,
        beta: float | Tensor | None = None,
        centres: Sequence[Sequence[float]] | Tensor | None = None,
    ) -> Estimate:
        """Estimate the mask of each source, `(..., K, F, N)`, which add up to 1, and the confidence.

        Args:
            mixture: on the separator's grid.
            generator: for the bins sampled by the silhouette; the global one by default.
            weights: `(D,)` of equation 1, in the order of the axes; the preset's by default.
            beta: hardness of equation 1; the preset's by default.
            centres: `(K, D)`, in the order of the sources; the preset's by default.

        Raises:
            ValueError: for values of another shape, or out of range.
        """
        weights = self._weights if weights is None else weights
        beta = self.preset.beta if beta is None else checks.positive(beta, "beta")
        centres = self._centres if centres is None else centres
        if len(centres) != len(self.sources):
            expected = f"{len(self.sources)} points, of {', '.join(self.sources)}"
            raise ValueError(f"centres must be {expected}, got {len(centres)}")
        masks = self.cues(mixture)
        embedding = list(masks.values())
        mask = soft_assignment(embedding, weights, beta, centres=centres)
        sampling = {"generator": generator, "maxima": mixture.maxima()}
        measured = (embedding, mixture.magnitude(), weights, beta, self.n_points)
        return Estimate(mask, masks, confidence_measure(*measured, centres=centres, **sampling))
