"""SD-SDR of a network in training, on held-out songs whose stems are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchprim.bootstrap.stem_bank import StemBank
from torchprim.metrics.scale import sd_sdr
from torchprim.separators.network import NetworkSeparator

_RANGE = 30.0  # dB: one silent estimate, at minus infinity, must not hide the others


class ValidationScores(NamedTuple):
    """Mean SD-SDR in dB; NaN where every source was silent."""

    vocals: float
    accompaniment: float


class StemValidation:
    """Separate held-out segments as they are, without remixing, and score them against their stems.

    Args:
        bank: songs with stems.
        segments: the held-out ones.
        most: segments that are used at most, evenly spread over them.
    """

    def __init__(self, bank: StemBank, segments: Sequence[int], most: int = 24) -> None:
        self.bank = bank
        stride = max(1, -(-len(segments) // most))
        self.segments = list(segments)[::stride]

    def scores(self, network: nn.Module, anchors: Tensor | None) -> ValidationScores:
        """Compute the SD-SDR of a network's separation, in evaluation mode, averaged over segments."""
        separator = NetworkSeparator(network.eval(), anchors)
        batches: list[Tensor] = []
        with torch.inference_mode():
            for batch in self.bank.batches(4, self.segments):
                vocals, accompaniment = self.bank.stems(batch)
                got = separator(vocals + accompaniment, self.bank.sample_rate, keep_masks=False)
                pairs = ((vocals, got.vocals), (accompaniment, got.accompaniment))
                batches.append(torch.stack([sd_sdr(true, estimate) for true, estimate in pairs]))
        network.train()
        scores = torch.cat(batches, 1).clamp(-_RANGE, _RANGE)
        return ValidationScores(*scores.nanmean(1).tolist())
