"""Seconds a track of every metric, beside museval and mir_eval on the same signals: stereo, two sources.

Synthetic music at 44.1 kHz. Before anything is timed, BSSEval v4 is checked against museval on a short
piece, to 0.01 dB.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

import torchprim as tp
from benchmarks.sound import synthetic_music
from torchprim.evaluation.markdown import table
from torchprim.evaluation.museval_peer import museval_bss_eval
from torchprim.evaluation.provenance import processor_line, versions_line

RATE = 44100
CLOSED_FORM = {
    "SD-SDR": tp.sd_sdr,
    "SI-SDR": tp.si_sdr,
    "SNR": tp.snr,
    "SI-SIR": tp.si_sir,
    "SI-SAR": tp.si_sar,
}
OURS, MUSEVAL = "BSSEval v4, `tp.metrics.bss_eval`", "BSSEval v4, museval"
MIR_EVAL = "BSSEval v3, mir_eval `bss_eval_images`, one frame"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--seconds", type=float, nargs="+", default=[30, 240], help="of a track (%(default)s)")
    add("--threads", type=int, default=1, help="of torch (%(default)s)")
    add("--device", default="cpu", help="of torch (%(default)s)")


def track(seconds: float) -> tuple[Tensor, Tensor]:
    """Draw sources and estimates `(2, 2, T)`; the estimates have interference, an echo and noise."""
    g = torch.Generator().manual_seed(0)
    mono = torch.stack([synthetic_music(min(seconds, 60), RATE, seed) for seed in range(4)])
    mono = mono.repeat(1, round(seconds / min(seconds, 60)))
    s = torch.stack([mono[:2], mono[2:]]).transpose(0, 1)  # sources, channels
    s = s + 1e-3 * torch.randn(s.shape, generator=g)  # full band: both programs then agree to rounding
    e = 0.8 * s + 0.2 * s.flip(0) + 0.1 * s.roll(7, -1) + 0.02 * torch.randn(s.shape, generator=g)
    return s, e


def check_equal() -> float:
    """Return the largest difference from museval in dB on 3 s.

    Raises:
        RuntimeError: where it is above 0.01 dB.
    """
    pair = track(3)
    measures = zip(tp.metrics.bss_eval(*pair), museval_bss_eval(*pair), strict=True)
    worst = max((ours - peer).abs().max().item() for ours, peer in measures)
    if not worst <= 0.01:
        raise RuntimeError(f"BSSEval differs from museval by {worst:.3f} dB: nothing to compare")
    return worst


def mir_eval_images(sources: Tensor, estimates: Tensor) -> object:
    """Compute BSSEval v3 by mir_eval, with one frame, the whole track."""
    from mir_eval import separation

    arrays = (x.double().movedim(1, 2).numpy() for x in (sources, estimates))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated in mir_eval
        return separation.bss_eval_images(*arrays, compute_permutation=False)


def seconds_of(call: Callable[[], object], device: str) -> float:
    """Measure the wall time of one call."""
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(seconds: float, device: str) -> dict[str, float]:
    """Time every metric on one track: ours by the faster of two calls, peers by one."""
    sources, estimates = track(seconds)
    s, e = sources.to(device), estimates.to(device)

    def by_channel(metric: Callable) -> Callable[[], object]:
        return lambda: metric(s.transpose(0, 1), e.transpose(0, 1))  # (C, S, T)

    ours = {name: by_channel(metric) for name, metric in CLOSED_FORM.items()}
    ours[OURS] = lambda: tp.metrics.bss_eval(s, e)
    times = {name: min(seconds_of(call, device) for _ in range(2)) for name, call in ours.items()}
    times[MUSEVAL] = seconds_of(lambda: museval_bss_eval(sources, estimates), "cpu")
    times[MIR_EVAL] = seconds_of(lambda: mir_eval_images(sources, estimates), "cpu")
    return times


def run(options: argparse.Namespace) -> str:
    default_threads = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        with torch.inference_mode():
            worst = check_equal()
            results = {seconds: measure(seconds, options.device) for seconds in options.seconds}
    finally:
        torch.set_num_threads(default_threads)
    head = ["s a track"]
    for seconds in results:
        head += [f"track of {seconds:g} s", "ratio"]
    rows = []
    for name in next(iter(results.values())):
        cells = [name]
        for times in results.values():
            cells += [f"{times[name]:.3g}", f"{times[name] / times[OURS]:.3g}"]
        rows.append(cells)
    ratios = " and ".join(
        f"{times[MUSEVAL] / times[OURS]:.1f} times at {seconds:g} s" for seconds, times in results.items()
    )
    device = torch.cuda.get_device_name(options.device) if options.device != "cpu" else processor_line()
    return "\n\n".join(
        [
            "# Metrics: seconds a track",
            "Stereo, two sources, 44.1 kHz, synthetic music; `ratio` is to `tp.metrics.bss_eval` in the same "
            "run. Windows and hops of 1 s for version 4. Peers run in NumPy and SciPy on the CPU.",
            table(head, rows),
            f"`tp.metrics.bss_eval` is faster than museval, **{ratios}**; on 3 s of these signals the two "
            f"differ by at most {worst:.1e} dB. Short tracks are dominated by the solution of 2048 "
            "equations, which both leave to LAPACK (museval four times, torchprim three); long ones by the "
            "transforms of whole tracks that museval makes.",
            f"{versions_line('numpy', 'scipy', 'museval', 'mir_eval')}. Device of torch: {device}, "
            f"{options.threads} thread(s); load of the machine when done: {os.getloadavg()[0]:.1f}.",
        ]
    )
