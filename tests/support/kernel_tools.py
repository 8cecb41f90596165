"""Helpers to compare a kernel with its reference, on a GPU or in Triton's interpreter."""

import os

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# `TRITON_INTERPRET=0 pytest` skips these; by default tests/conftest.py sets it to 1 where there is no GPU.
runs_kernels = pytest.mark.skipif(
    DEVICE == "cpu" and os.environ.get("TRITON_INTERPRET") != "1", reason="no GPU, and TRITON_INTERPRET=0"
)


def forbid(monkeypatch, module, *names):
    """Replace the code of references, which operators hold too: a result proves that the kernel ran."""

    def fail(*_, **__):
        raise AssertionError("the reference ran, not the kernel")

    for name in names:
        monkeypatch.setattr(getattr(module, name), "__code__", fail.__code__)


def awkward(*shape, seed=0, device=DEVICE, low=0.0, high=1.0):
    """Draw a tensor that is not contiguous: every other entry of the last two axes."""
    generator = torch.Generator().manual_seed(seed)
    wide = [*shape[:-2], *(2 * s for s in shape[-2:])]
    x = torch.rand(wide, generator=generator) * (high - low) + low
    return x.to(device)[..., ::2, ::2] if len(shape) > 1 else x.to(device)[::2]
