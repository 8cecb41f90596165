"""Which body of an operator runs: its Triton kernel, or the plain torch reference beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# What kernels read; all of them compute in float32.
_READ = (torch.float32, torch.float16, torch.bfloat16)
_forced = False
_refused = False


def takes_kernel(*tensors: Tensor) -> bool:
    """Whether an operator's kernel computes with these tensors: on a GPU, unless one is float64.

    Double precision is there to check gradients with, and takes the reference everywhere.
    """
    real = [t for t in tensors if t.is_floating_point()]
    wanted = (_forced or all(t.is_cuda for t in tensors)) and not _refused
    return wanted and all(t.dtype in _READ for t in real)


@contextmanager
def forced_kernels() -> Iterator[None]:
    """Kernels for tensors on the CPU too, in Triton's interpreter: how they are tested with no GPU.

    Raises:
        RuntimeError: unless TRITON_INTERPRET=1 was set before the first kernel was imported.
    """
    global _forced
    if os.environ.get("TRITON_INTERPRET") != "1" and not torch.cuda.is_available():
        raise RuntimeError("kernels run on a CPU only under TRITON_INTERPRET=1")
    before, _forced = _forced, True
    try:
        yield
    finally:
        _forced = before


@contextmanager
def plain_torch() -> Iterator[None]:
    """References for tensors on a GPU too: what kernels are compared with there."""
    global _refused
    before, _refused = _refused, True
    try:
        yield
    finally:
        _refused = before
