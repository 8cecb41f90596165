"""How well a network in training separates songs whose stems are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchprim.bootstrap.stem_bank import StemBank
from torchprim.metrics.scale import sd_sdr
from torchprim.separators.network import NetworkSeparator


class Scores(NamedTuple):
    """Mean SD-SDR in dB; NaN where every source was silent."""

    vocals: float
    accompaniment: float


class TrueSongs:
    """Held-out segments with true stems, separated as they are: no remix, no ground truth at clustering.

    Args:
        bank: songs with stems.
        segments: the held-out ones.
        most: segments that are used at most, evenly spread over them.
    """

    def __init__(self, bank: StemBank, segments: Sequence[int], most: int = 24) -> None:
        self.bank = bank
        stride = max(1, -(-len(segments) // most))
        self.segments = list(segments)[::stride]

    def scores(self, network: nn.Module, anchors: Tensor | None) -> Scores:
        """SD-SDR of a network's separation, in evaluation mode, averaged over segments."""
        separator = NetworkSeparator(network.eval(), anchors)
        found: list[Tensor] = []
        with torch.inference_mode():
            for batch in self.bank.batches(4, self.segments):
                vocals, accompaniment = self.bank.stems(batch)
                got = separator(vocals + accompaniment, self.bank.sample_rate, keep_masks=False)
                pairs = ((vocals, got.vocals), (accompaniment, got.accompaniment))
                found.append(torch.stack([sd_sdr(true, estimate) for true, estimate in pairs]))
        network.train()
        every = torch.cat(found, 1)
        every = every.clamp(-30, 30)  # one silent estimate, at minus infinity, is not to hide the others
        return Scores(*every.nanmean(1).tolist())
