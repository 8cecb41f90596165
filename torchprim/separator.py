"""Audio in, vocals and accompaniment and a confidence out: the ensemble of primitives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchprim import checks
from torchprim.clustering import soft_assignment
from torchprim.confidence import Confidence, confidence_measure
from torchprim.cues import Cues
from torchprim.mixture import Mixture
from torchprim.pieces import Piece, cut, on_frames
from torchprim.presets import PRIMITIVES, Preset, find_preset
from torchprim.resampling import resample
from torchprim.spectrum import istft, stft

METHODS = ("pcl", *PRIMITIVES)
PIECE_SECONDS = 30.0
OVERLAP_SECONDS = 2.0
# What is left of a constant after its mean is taken away, relative to the constant: rounding.
_ROUNDING = 1e-6


class Separation(NamedTuple):
    """Two stems, the mask that made them, and how far to trust it. Leading dimensions are the input's."""

    vocals: Tensor  # like the input, (..., T) or (..., C, T)
    accompaniment: Tensor  # mixture minus vocals
    mask: Tensor | None  # (..., F, N) on the preset's grid
    confidence: Tensor  # (...)
    silhouette: Tensor  # (...)
    posterior: Tensor  # (...)
    masks: dict[str, Tensor]  # each primitive's mask by name


class PrimitiveSeparator(nn.Module):
    """Primitive clustering (sections 2 and 3.1 of the paper): cues, equation 1, confidence, stems.

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
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}; there are {', '.join(METHODS)}")
        if n_points is not None:
            checks.integer(n_points, "n_points", 2)
        preset = find_preset(preset)
        unknown = set(changes) - {field.name for field in dataclasses.fields(Preset)}
        if unknown:
            raise ValueError(f"a preset has no field {sorted(unknown)[0]!r}")
        self.preset = dataclasses.replace(preset, **changes)
        self.method = method
        self.n_points = n_points
        # A weight of 0 takes a cue out; it is not computed.
        used = [name for name, weight in self.preset.weights.items() if weight > 0]
        self.cues = Cues(used if method == "pcl" else [method], self.preset)

    def cue_weights(self) -> list[float]:
        """The weights of equation 1, in the order of the masks."""
        return [1.0] if self.method != "pcl" else [self.preset.weights[name] for name in self.cues.names]

    def masks(self, mixture: Mixture) -> tuple[Tensor, dict[str, Tensor]]:
        """The mask `(..., F, N)` of a mixture on the preset's grid, and each primitive's by name."""
        masks = self.cues(mixture)
        if self.method != "pcl":
            return masks[self.method], masks
        mask = soft_assignment(list(masks.values()), self.cue_weights(), self.preset.beta)
        # Masks of 0 all round give a small positive number in equation 1; silence is 0.
        return torch.where(mixture.magnitude() > 0, mask, 0), masks

    def confidence(
        self, masks: dict[str, Tensor], mixture: Mixture, generator: torch.Generator | None = None
    ) -> Confidence:
        """The confidence measure, with the clustering's own weights and beta."""
        return confidence_measure(
            list(masks.values()),
            mixture.magnitude(),
            self.cue_weights(),
            self.preset.beta,
            self.n_points,
            generator=generator,
        )

    def forward(
        self,
        audio: Tensor,
        sample_rate: float,
        channels: bool = False,
        *,
        generator: torch.Generator | None = None,
        keep_masks: bool | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Separation:
        """Separate a batch of recordings of one length.

        Recordings over 30 s are separated in overlapping pieces of 30 s that fade into one another, so
        that memory grows by the samples alone; the confidence is then the mean over pieces, weighted by
        duration.

        Args:
            audio: `(..., T)`, or `(..., C, T)` with `channels`; on any device.
            sample_rate: in Hz. Another rate than the preset's is resampled, and the vocals back.
            channels: whether the last but one dimension is channels: masks are then made from their
                mean, and one mask serves all.
            generator: for the bins that the silhouette draws; by default one seeded with 0, so that
                results repeat.
            keep_masks: whether `mask` and `masks` are returned; by default for at most 30 s.
            progress: called with (pieces done, pieces in all) after each piece.

        Returns:
            A `Separation`; vocals and accompaniment add up to the input.

        Raises:
            ValueError: for audio that is complex, empty or not finite, or a rate that is not positive.
        """
        audio = checks.audio(audio, rank=2 if channels else 1)
        checks.positive(sample_rate, "sample_rate")
        if generator is None:
            generator = torch.Generator(audio.device).manual_seed(0)
        pieces = self._pieces(audio.shape[-1], sample_rate)
        keep_masks = len(pieces) == 1 if keep_masks is None else keep_masks
        vocals = torch.zeros_like(audio)
        measures, kept = [], []
        for done, piece in enumerate(pieces, 1):
            estimate, mask, masks, measure = self._separate(
                audio[..., piece.start : piece.stop], sample_rate, channels, generator
            )
            vocals[..., piece.begin : piece.end] += piece.faded(estimate)
            measures.append(measure)
            if keep_masks:
                kept.append({"": mask, **masks})
            if progress is not None:
                progress(done, len(pieces))
        weights = audio.new_tensor([piece.weight for piece in pieces])
        weights = weights / weights.sum()
        overall = Confidence(*(torch.stack(values, -1) @ weights for values in zip(*measures, strict=True)))
        joined = self._joined(kept, pieces, sample_rate) if keep_masks else {"": None}
        return Separation(vocals, audio - vocals, joined.pop(""), *overall, joined)

    def _pieces(self, length: int, sample_rate: float) -> list[Piece]:
        geometry = self.preset.geometry
        # Pieces start at whole frames, so that their masks lie on one grid.
        hop = geometry.hop_length * sample_rate / geometry.sample_rate
        return cut(length, round(PIECE_SECONDS * sample_rate), round(OVERLAP_SECONDS * sample_rate), hop)

    def _separate(self, audio: Tensor, sample_rate: float, channels: bool, generator):
        """One piece: vocals like `audio`, the mask, the primitives' masks, the confidence."""
        geometry = self.preset.geometry
        mono = audio.mean(-2) if channels else audio
        mixture = Mixture(_without_mean(mono), sample_rate, geometry)
        mask, masks = self.masks(mixture)
        measure = self.confidence(masks, mixture, generator)
        if channels:
            sound = resample(_without_mean(audio), sample_rate, geometry.sample_rate)
            spectrum = stft(sound, geometry) * mask.unsqueeze(-3)
        else:
            spectrum = mixture.spectrum() * mask
        estimate = istft(spectrum, geometry, mixture.audio.shape[-1])
        estimate = resample(estimate, geometry.sample_rate, sample_rate)[..., : audio.shape[-1]]
        missing = audio.shape[-1] - estimate.shape[-1]  # a rounded ratio may be some samples short
        return torch.nn.functional.pad(estimate, (0, missing)), mask, masks, measure

    def _joined(self, kept: list[dict[str, Tensor]], pieces: list[Piece], sample_rate: float):
        """The masks of all pieces as masks of the whole, faded like the audio."""
        if len(kept) == 1:
            return kept[0]
        frame = self.preset.geometry.hop_length * sample_rate / self.preset.geometry.sample_rate
        frame_pieces = on_frames(pieces, frame, [masks[""].shape[-1] for masks in kept])
        joined = {}
        for name, first in kept[0].items():
            joined[name] = first.new_zeros(*first.shape[:-1], frame_pieces[-1].stop)
            for piece, masks in zip(frame_pieces, kept, strict=True):
                joined[name][..., piece.begin : piece.end] += piece.faded(masks[name])
        return joined


def _without_mean(audio: Tensor) -> Tensor:
    """Zero-mean audio; exactly 0 where nothing but rounding is left, so that a constant is silence."""
    centred = audio - audio.mean(-1, keepdim=True)
    loudest = audio.detach().abs().amax(-1, keepdim=True)
    left = centred.detach().abs().amax(-1, keepdim=True)
    return torch.where(left > _ROUNDING * loudest, centred, 0)
