"""Guessed rates of the devices. Nothing here was measured: replace them by what a run on a GPU measures."""

from __future__ import annotations

# Achieved bytes a second, read plus written; not the datasheet's.
CHIPS = {"H100": 3.0e12, "H200": 4.3e12}
MULTIPROCESSORS = 132
CLOCK = 1.8e9  # Hz, under such a load
SCHEDULERS = 4 * MULTIPROCESSORS
ISSUE = SCHEDULERS * CLOCK * 0.6  # warp instructions a second, at 60 % of the slots
L2 = 5.0e12  # bytes a second of scattered sectors through the second-level cache
TF32 = 3.0e14  # operations a second of `tl.dot`
BFLOAT16 = 6.0e14  # of a matrix product of the library
FLOAT32 = 4.5e13
FFT_FLOAT32 = 3.0e13  # of a transform
RECURRENT_STEP = 5.0e-6  # seconds that one step of an LSTM layer waits for the one before
EAGER, GRAPH = 2.5e-6, 1.2e-6  # seconds that a launch costs beyond its work, alone and in a CUDA graph
# Seconds of the host: an operation of PyTorch, a launch of Triton, an operator of the project.
HOST = {"aten": 6e-6, "triton": 15e-6, "custom": 45e-6}
TOPK_LAUNCHES, TOPK_READS = 10, 6  # radix selection: four digits, two gathers
SORT_PASSES = 8  # a radix sort of 64-bit pairs reads and writes everything so often
