"""Launches as Triton's JIT makes them compile for sm_90 with no GPU, spill nothing and keep to CUDA's limits.

`test_compile` compiles the configurations that kernels list; here the host code of the operators chooses
them, and Triton makes a constant of every size that is 1. Where there is a GPU the other tests launch.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are launched on the GPU")

# part -> launches, at least
PARTS = {"presets": 150, "sizes of 1": 150}
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}


def recorded(part):
    """Run a part in a process without the interpreter; return the launches, and those that would fail."""
    command = [sys.executable, "-m", "tests.support.launching", part]
    root = Path(__file__).parents[2]
    child = subprocess.run(command, cwd=root, env=ENVIRONMENT, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr[-2000:]
    return json.loads(child.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def parts():
    """Run all parts, as many at a time as there are cores: part -> future."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield {part: pool.submit(recorded, part) for part in PARTS}


@pytest.mark.parametrize("part", PARTS)
def test_all_launches_compile(part, parts):
    result = parts[part].result()
    assert result["launches"] >= PARTS[part]
    assert not result["failures"], "\n".join(result["failures"])


def test_failures_are_found():
    """A kernel that does not compile, one that spills, and a grid beyond CUDA's limits."""
    first, spilling, third = recorded("broken")["failures"]
    assert first.startswith("__main__: constant: CompilationError")
    assert spilling.startswith("__main__: crowded: RuntimeError: spills")
    assert third == "__main__: plain: grid (1, 70000, 1) is beyond CUDA's limits"
