"""Metrics of separation quality against true sources."""

from torchprim.metrics.baselines import ideal_ratio_mask, null_mask
from torchprim.metrics.bss_eval_v4 import BSSEval, bss_eval
from torchprim.metrics.interference import si_sar, si_sir
from torchprim.metrics.scale import improvement, sd_sdr, si_sdr, snr

__all__ = [
    "BSSEval",
    "bss_eval",
    "ideal_ratio_mask",
    "improvement",
    "null_mask",
    "sd_sdr",
    "si_sar",
    "si_sdr",
    "si_sir",
    "snr",
]
