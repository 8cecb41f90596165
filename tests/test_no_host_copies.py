"""With no GPU at hand: a separation there copies nothing from the host or back, and asks for no value.

Fake tensors on a device that need not be there go through the whole separation; every operation between
two devices, or that reads a number, is noted. Once tables of constants are made there must be none: such a
separation waits for nothing and can be captured as a CUDA graph. In a process of its own, because tables
that are made of fake tensors are kept.
"""

import subprocess
import sys
from pathlib import Path

import pytest

_CODE = """
import sys, traceback
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

def devices(tree):
    return {x.device.type for x in tree_leaves(tree) if isinstance(x, torch.Tensor) and x.dim()}

class Watch(TorchDispatchMode):
    noted = []
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = str(func)
        waits = any(word in name for word in ("_local_scalar_dense", "nonzero", "unique", "equal.default"))
        if waits or len(devices((args, kwargs, result))) > 1:
            stack = [f for f in traceback.extract_stack() if "/torch/" not in f.filename]
            self.noted.append(f"{name} after {stack[-2].filename}:{stack[-2].lineno}")
        return result

import torchprim as tp
with FakeTensorMode(allow_non_fake_inputs=True):
    separator = tp.PrimitiveSeparator(sys.argv[1])
    rate = separator.geometry.sample_rate
    audio = torch.empty(2, round(0.15 * rate), device="cuda")
    index = torch.randperm
    torch.randperm = lambda n, *, generator=None, device=None: index(n, device="cuda")  # drawn on the device
    with torch.no_grad():
        for run in range(2):
            Watch.noted.clear()
            with Watch():
                stems = separator(audio, rate, generator=torch.Generator())
            if run == 0:
                assert Watch.noted, "tables are made on the host: nothing was watched"
assert stems.vocals.device.type == stems.confidence.device.type == "cuda"
print("\\n".join(Watch.noted))
"""


@pytest.mark.parametrize("preset", ["best", "paper"])
def test_separation_copies_nothing(preset):
    command = [sys.executable, "-c", _CODE, preset]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-1000:]
    assert run.stdout.strip() == ""
