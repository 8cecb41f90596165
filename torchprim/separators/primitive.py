"""Audio in, vocals and accompaniment and a confidence out: the ensemble of primitives."""

from __future__ import annotations

import dataclasses
import hashlib

import torch
from torch import Tensor

from torchprim import checks
from torchprim.ensemble.clustering import checked_weights
from torchprim.ensemble.confidence import Confidence, confidence_measure
from torchprim.ensemble.preset_cues import preset_cues
from torchprim.ensemble.presets import PRIMITIVES, Preset, find_preset
from torchprim.kernels.clustering.soft_assignment import assign_and_apply
from torchprim.separators.base import Estimate, Separator
from torchprim.spectra.mixture import Mixture
from torchprim.version import __version__

METHODS = ("pcl", *PRIMITIVES)


class PrimitiveSeparator(Separator):
    """Primitive clustering (sections 2 and 3.1 of the paper): cues, equation 1, confidence, stems.

    A call takes `weights` and `beta`, too, as tensors that are learnt; so do `masks`, `estimate` and
    `confidence`. Settings of the cues are attributes: with `separator.cues["hpss"].primitive.power =
    nn.Parameter(...)` the power is among `separator.parameters()`.

    Args:
        preset: `best`, `paper`, `companion`, or a `Preset`.
        method: `pcl` for the ensemble, or the name of one primitive, whose own mask is then used.
        n_points: bins drawn for the silhouette; None takes all of the loudest 1 %.
        changes: fields of the preset to replace, such as `beta=3.0`.

    Raises:
        ValueError: for an unknown preset or method, or a setting out of range.

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
        **changes,
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}; there are {', '.join(METHODS)}")
        if n_points is not None:
            checks.integer(n_points, "n_points", 2)
        preset = find_preset(preset)
        unknown = set(changes) - {field.name for field in dataclasses.fields(Preset)}
        if unknown:
            raise ValueError(f"a preset has no field {sorted(unknown)[0]!r}")
        preset = dataclasses.replace(preset, **changes)
        super().__init__(preset.geometry)
        self.preset = preset
        self.method = method
        self.n_points = n_points
        # A weight of 0 takes a cue out; it is not computed.
        used = [name for name, weight in self.preset.weights.items() if weight > 0]
        self.cues = preset_cues(preset, used if method == "pcl" else [method])
        # As numbers: torch.compile cannot look into a preset's read-only mapping.
        self._weights = [preset.weights[name] for name in used] if method == "pcl" else [1.0]

    @property
    def identity(self) -> str:
        """Changes with everything that changes the masks: what labels are kept under."""
        settings = hashlib.sha256(repr((__version__, self.preset, self.n_points)).encode()).hexdigest()
        return f"{self.method} {self.preset.name} {settings[:12]}"

    def cue_weights(self) -> list[float]:
        """The weights of equation 1, in the order of the masks."""
        return list(self._weights)

    def cue_masks(self, mixture: Mixture) -> dict[str, Tensor]:
        """What the ensemble is made of: each cue's mask by name."""
        return self.cues(mixture)

    def masks(
        self, mixture: Mixture, *, weights: Tensor | None = None, beta: float | Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mask `(..., F, N)` of a mixture on the preset's grid, and each cue's by name.

        Args:
            mixture: keeps the cues' masks: make a new one where the audio or a cue's settings have changed.
            weights: `(D,)` of equation 1, in the order of the masks; the preset's by default.
            beta: hardness of equation 1; the preset's by default.
        """
        mask, masks, _ = self._masks(mixture, weights, beta)
        return mask, masks

    def _masks(
        self, mixture: Mixture, weights: Tensor | None, beta: float | Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
        """The mask and the cues', and the ensemble's vocals: one kernel reads all that makes both."""
        masks = self.cue_masks(mixture)
        if self.method != "pcl":
            return masks[self.method], masks, None
        every = list(masks.values())
        weights, beta = self._clustering(weights, beta)
        weights = checked_weights(weights, len(every), every[0])
        # Masks of 0 all round give a small positive number in equation 1; silence is 0.
        mask, vocals = assign_and_apply(every, weights, beta, mixture.spectrum())
        return mask, masks, vocals

    def _clustering(self, weights: Tensor | None, beta: float | Tensor | None):
        """Weights and beta of equation 1: the preset's, unless others are given."""
        weights = self.cue_weights() if weights is None else weights
        return weights, self.preset.beta if beta is None else checks.positive(beta, "beta")

    def confidence(
        self,
        masks: dict[str, Tensor],
        mixture: Mixture,
        generator: torch.Generator | None = None,
        *,
        weights: Tensor | None = None,
        beta: float | Tensor | None = None,
    ) -> Confidence:
        """The confidence measure, with the clustering's own weights and beta."""
        weights, beta = self._clustering(weights, beta)
        every, magnitude = list(masks.values()), mixture.magnitude()
        return confidence_measure(every, magnitude, weights, beta, self.n_points, generator=generator)

    def estimate(
        self,
        mixture: Mixture,
        generator: torch.Generator | None = None,
        *,
        weights: Tensor | None = None,
        beta: float | Tensor | None = None,
    ) -> Estimate:
        """The ensemble's mask, the cues' masks, the confidence; weights and beta as in `masks`."""
        mask, masks, vocals = self._masks(mixture, weights, beta)
        confidence = self.confidence(masks, mixture, generator, weights=weights, beta=beta)
        return Estimate(mask, masks, confidence, vocals)
