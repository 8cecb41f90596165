"""Separation into any number of stems, such as drums, bass, other and vocals, with no training."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchprim import checks
from torchprim.ensemble.clustering import soft_assignment
from torchprim.ensemble.confidence import confidence_measure
from torchprim.ensemble.cues import Cues
from torchprim.ensemble.four import FOUR, StemPreset, stem_cues
from torchprim.separators.base import BaseSeparator
from torchprim.separators.digest import state_digest
from torchprim.separators.piecewise import Estimate, Separated
from torchprim.separators.separation import StemSeparation
from torchprim.spectra.mixture import Mixture
from torchprim.spectra.stft import masked_istft
from torchprim.version import __version__


class StemSeparator(BaseSeparator):
    """Separator into K stems by primitive clustering: cues, equation 1 with K centres, confidence.

    By default drums, bass, other and vocals, named as in MUSDB18; see `torchprim.ensemble.four` for where
    their centres lie and why. Calls accept `weights`, `beta` and `centres`, too, as tensors that receive
    gradients. Long recordings are separated in pieces, as by `PrimitiveSeparator`.

    Args:
        preset: axes, centres, weights.
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

    def __init__(self, preset: StemPreset = FOUR, n_points: int | None = 1000, **changes: Any) -> None:
        if not isinstance(preset, StemPreset):
            raise ValueError(f"preset must be a StemPreset, got {preset!r}")
        if n_points is not None:
            checks.integer(n_points, "n_points", 2)
        unknown = set(changes) - {field.name for field in dataclasses.fields(StemPreset)}
        if unknown:
            raise ValueError(f"a preset has no field {sorted(unknown)[0]!r}")
        preset = dataclasses.replace(preset, **changes)
        super().__init__(preset.geometry)
        self.preset: StemPreset = preset
        self.n_points: int | None = n_points
        self.cues: Cues = stem_cues(preset)
        self.sources: tuple[str, ...] = preset.sources
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

    def forward(
        self,
        audio: checks.Audio,
        sample_rate: float,
        channels: bool = False,
        *,
        generator: torch.Generator | None = None,
        keep_masks: bool | None = None,
        progress: Callable[[int, int], None] | None = None,
        **settings: Any,
    ) -> StemSeparation:
        """Separate a batch of recordings of one length; arguments and errors as for `PrimitiveSeparator`.

        Args:
            audio: `(..., T)`, or `(..., C, T)` with `channels`; on any device.
            sample_rate: in Hz.
            channels: whether the last but one dimension is channels, which get the masks of their mean.
            generator: for the bins sampled by the silhouette; by default one seeded with 0.
            keep_masks: whether to return `mask` and `masks`; by default up to 30 s.
            progress: called with (pieces done, number of pieces) after each piece.
            settings: `weights`, `beta` and `centres` of `estimate`.

        Returns:
            A `StemSeparation`, whose stems add up to the input.

        Raises:
            ValueError: as `PrimitiveSeparator`, and `estimate`.
        """
        return self._result(
            self._separate(audio, sample_rate, channels, generator, keep_masks, progress, settings)
        )

    def stream(
        self,
        read: Callable[[int, int], Tensor],
        length: int,
        sample_rate: float,
        channels: bool = False,
        *,
        generator: torch.Generator | None = None,
        progress: Callable[[int, int], None] | None = None,
        **settings: Any,
    ) -> Iterator[StemSeparation]:
        """Separate a recording that is too long for memory: yield its stems in stretches, one after another.

        Joined, the stretches are the stems of `forward`.

        Args:
            read: returns samples `start` to `stop` of the recording, `(..., stop - start)`.
            length: number of samples of the recording.
            sample_rate, channels, generator, progress, settings: as for `forward`.

        Yields:
            A `StemSeparation` for each piece, without masks; the confidence of the last is the recording's.

        Raises:
            ValueError: as `forward`.
        """
        for part in self._stream(read, length, sample_rate, channels, generator, progress, settings):
            result = self._result(part)
            del part  # not to be held beside the next piece
            yield result
            del result

    if TYPE_CHECKING:

        def __call__(
            self,
            audio: checks.Audio,
            sample_rate: float,
            channels: bool = False,
            *,
            generator: torch.Generator | None = None,
            keep_masks: bool | None = None,
            progress: Callable[[int, int], None] | None = None,
            **settings: Any,
        ) -> StemSeparation: ...

    def _synthesise(self, mask: Tensor, spectrum: Tensor, length: int) -> Tensor:
        """Compute the audio of all sources but the rest: `(K - 1, ..., length)`."""
        rest = self.sources.index(self.preset.rest)
        masks = [one for k, one in enumerate(mask.unbind(-3)) if k != rest]
        return torch.stack([masked_istft(one, spectrum, self.geometry, length) for one in masks])

    def _result(self, done: Separated) -> StemSeparation:
        """Name the stems; the rest is the mixture minus all others."""
        stems = dict(
            zip([name for name in self.sources if name != self.preset.rest], done.stems, strict=True)
        )
        stems[self.preset.rest] = done.audio - done.stems.sum(0)
        stems = {name: stems[name] for name in self.sources}
        mask, masks, _ = (None, {}, None) if done.estimate is None else done.estimate
        return StemSeparation(stems, mask, *done.confidence, masks=masks, sample_rate=done.sample_rate)
