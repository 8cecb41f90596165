"""Prediction, with no GPU, of what a separation and a training step cost on an H100 and an H200.

Everything runs on fake tensors. Operations of PyTorch are noted with the bytes that their tensors hold;
operators of the project run by their own host code, whose launches are not sent but counted, in Triton's
intermediate representation: bytes loaded and stored, instructions, products, waits.
"""

from __future__ import annotations

import argparse
import os

from benchmarks.data import MissingData

_HEAD = """# Predicted on an H100 and an H200

Nothing here was measured but the last column, which `benchmarks gpu` fills. Guessed are the rates that a
device achieves ({chips}), the instructions that an operation takes, cuFFT's
passes, what a launch costs beyond its work ({eager:g} µs, in a graph {graph:g} µs) and the host's time of a
call: constants in benchmarks/predict/rates.py and ir.py. Bytes count each tensor of an operation once, and a
gather a sector of 32 bytes an element; conditions on data are taken to hold. An operation takes the longest
of its bytes, its scattered sectors and its arithmetic. Floors are counted in benchmarks/gpu/floors.py, at an
H100's rates. *CROSSED*: an operand lies in another order than the result. *Measured*: {where}.

{versions}."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", nargs="*", default=["best", "paper"], help="ensembles (%(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="mixtures (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each (%(default)s)")
    parser.add_argument("--network", default="paper", help="of the training step; empty for none")
    parser.add_argument("--sequences", type=int, default=128, help="in a training batch (%(default)s)")
    parser.add_argument("--frames", type=int, default=400, help="of each sequence (%(default)s)")
    parser.add_argument("--top", type=int, default=40, help="operations listed (%(default)s)")


def run(options: argparse.Namespace) -> str:
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise MissingData("kernels for Triton's interpreter cannot be compiled: unset TRITON_INTERPRET")
    import torch

    from benchmarks.predict import page, rates, scenes
    from torchprim.evaluation.provenance import versions_line

    path = page.latest_run()
    measured = page.Measured(path)
    chips = ", ".join(f"{chip} {rate / 1e12:g} TB/s" for chip, rate in rates.CHIPS.items())
    head = _HEAD.format(
        chips=chips,
        eager=1e6 * rates.EAGER,
        graph=1e6 * rates.GRAPH,
        where=measured.where.rstrip(".") or "no run yet",
        versions=versions_line("triton"),
    )
    sections = [head]
    for preset in options.preset:
        size = preset, options.batch, options.seconds
        ledgers = [scenes.separation(*size, dtype) for dtype in (None, torch.float16)]
        sections.append(page.separation_section(*size, *ledgers, measured, options.top))
    if options.network:
        size = options.network, options.sequences, options.frames
        step = scenes.training_step(*size)
        stream = scenes.remix_batches(*size)
        sections.append(page.training_section(*size, step, stream, measured, options.top))
    return "\n\n".join(sections)
