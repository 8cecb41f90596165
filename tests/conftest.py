"""Signals that several tests use. None needs a file outside the repository."""

import math
import os
from pathlib import Path

import pytest
import torch

# Kernels run in Triton's interpreter where there is no GPU; it has to be said before they are imported.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

from tests.support.small_bank import bank, music  # noqa: F401  (fixtures)

RATE = 44100


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests of a GPU or of real audio skip where there is none, and say so.

    Where there is a GPU the tests of kernels run on it, so `pytest -m gpu` has to choose them, too.
    """
    if torch.cuda.is_available():
        for item in items:
            if "kernels" in item.path.parts:
                item.add_marker(pytest.mark.gpu)
    data = Path(os.environ.get("TORCHPRIM_DATA", Path(__file__).parents[2] / "shared" / "data"))
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skipif(True, reason="no CUDA device"))
        if item.get_closest_marker("data") and not (data / "musdb18_7s").is_dir():
            item.add_marker(pytest.mark.skipif(True, reason=f"no real audio at {data}"))


@pytest.fixture(autouse=True, scope="session")
def _threads():
    """Small tensors gain nothing from many threads, and test workers share the cores."""
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))


@pytest.fixture
def poisoned():
    """Memory that a kernel should have written and did not holds NaN."""
    torch.use_deterministic_algorithms(True, warn_only=True)  # and so fills what `torch.empty` gives
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def drum_loop():
    """8 s of noise bursts that repeat every half second, the same each time."""
    generator = torch.Generator().manual_seed(5)
    period = RATE // 2
    burst = torch.randn(period, generator=generator) * torch.exp(-torch.arange(period) / 1500)
    return 0.3 * burst.repeat(16)


@pytest.fixture(scope="session")
def voice():
    """8 s of a gliding tone with vibrato and harmonics, sounding in every other second."""
    t = torch.arange(8 * RATE) / RATE
    f0 = 220 * 2 ** (0.3 * torch.sin(2 * math.pi * 0.35 * t) + 0.03 * torch.sin(2 * math.pi * 5.5 * t))
    phase = 2 * math.pi * torch.cumsum(f0.double(), 0) / RATE
    tone = sum(torch.sin(h * phase) / h for h in range(1, 13)).float()
    return 0.1 * tone * ((t.floor() % 2) == 1)
