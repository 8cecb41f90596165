"""Validation on held-out songs with true stems: SD-SDR of the network's separation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchprim.bootstrap.banks.stem_bank import StemBank
from torchprim.metrics.scale import sd_sdr
from torchprim.separators.base import Separator
from torchprim.separators.network import NetworkSeparator

_SD_SDR_LIMIT = 30.0  # dB, of a segment: a silent estimate, at minus infinity, must not dominate the mean


class ValidationScores(NamedTuple):
    """Mean SD-SDR in dB; NaN if the source is silent in every segment."""

    vocals: float
    accompaniment: float


class StemValidation:
    """Separate held-out segments, without remixing, and score them against their stems.

    Args:
        bank: songs with stems.
        segments: indices of the held-out segments.
        teacher: whose scores the network's are compared with, or None.
        max_segments: number of segments to score at most, evenly spaced among them.
    """

    def __init__(
        self,
        bank: StemBank,
        segments: Sequence[int],
        teacher: Separator | None = None,
        max_segments: int = 24,
    ) -> None:
        self.bank, self.teacher = bank, teacher
        self._teacher_scores: ValidationScores | None = None
        stride = max(1, -(-len(segments) // max_segments))
        self.segments = list(segments)[::stride]

    def record(self, network: nn.Module, anchors: Tensor | None) -> dict[str, float]:
        """Return the finite scores by the name that the log gives them, such as `sd_sdr_vocals`.

        Those of the teacher, computed once, are beside them: `teacher_sd_sdr_vocals` and so on.
        """
        scores = {"": self.scores(network, anchors)}
        if self.teacher is not None:
            if self._teacher_scores is None:
                self._teacher_scores = self._score(self.teacher)
            scores["teacher_"] = self._teacher_scores
        return {
            f"{whose}sd_sdr_{source}": value
            for whose, of_both in scores.items()
            for source, value in of_both._asdict().items()
            if math.isfinite(value)
        }

    def scores(self, network: nn.Module, anchors: Tensor | None) -> ValidationScores:
        """Compute the mean SD-SDR of a network, in evaluation mode, over the segments."""
        scores = self._score(NetworkSeparator(network.eval(), anchors))
        network.train()
        return scores

    def _score(self, separator: Separator) -> ValidationScores:
        scores: list[Tensor] = []
        with torch.inference_mode():
            for batch in self.bank.batches(4, self.segments):
                vocals, accompaniment = self.bank.stems(batch)
                estimate = separator(vocals + accompaniment, self.bank.sample_rate, keep_masks=False)
                of_vocals = sd_sdr(vocals, estimate.vocals)
                scores.append(torch.stack([of_vocals, sd_sdr(accompaniment, estimate.accompaniment)]))
        clamped = torch.cat(scores, 1).clamp(-_SD_SDR_LIMIT, _SD_SDR_LIMIT)  # (2, segments)
        return ValidationScores(*clamped.nanmean(1).tolist())
