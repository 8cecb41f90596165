"""Validation on held-out songs with true stems: SD-SDR of the network's separation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torchprim.bootstrap.banks.stem_bank import StemBank
from torchprim.bootstrap.estimates import named_stems
from torchprim.metrics.scale import sd_sdr
from torchprim.separators.load import network_separator

_SD_SDR_LIMIT = 30.0  # dB, of a segment: a silent estimate, at minus infinity, must not dominate the mean


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
        teacher: nn.Module | None = None,
        max_segments: int = 24,
    ) -> None:
        self.bank, self.teacher = bank, teacher
        self._teacher_scores: dict[str, float] | None = None
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
            for whose, of_all in scores.items()
            for source, value in of_all.items()
            if math.isfinite(value)
        }

    def scores(self, network: nn.Module, anchors: Tensor | None) -> dict[str, float]:
        """Compute the mean SD-SDR of a network in dB, in evaluation mode, over the segments, by source.

        NaN for a source that is silent in every segment.
        """
        scores = self._score(network_separator(network.eval(), anchors))
        network.train()
        return scores

    def _score(self, separator: nn.Module) -> dict[str, float]:
        sources, scores = self.bank.sources, []
        with torch.inference_mode():
            for batch in self.bank.batches(4, self.segments):
                stems = self.bank.stems(batch)
                estimate = separator(sum(stems), self.bank.sample_rate, keep_masks=False)
                estimates = named_stems(estimate, sources).values()
                scores.append(torch.stack([sd_sdr(s, e) for s, e in zip(stems, estimates, strict=True)]))
        clamped = torch.cat(scores, 1).clamp(-_SD_SDR_LIMIT, _SD_SDR_LIMIT)  # (S, segments)
        return dict(zip(sources, clamped.nanmean(1).tolist(), strict=True))
