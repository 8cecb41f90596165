"""Without a GPU: a separation on one neither copies between host and device nor synchronises.

Fake CUDA tensors, which need no device, run through the whole separation; operations between two devices,
and those that read a value, are recorded. Once the constant tables are cached there must be none: such a
separation never synchronises and can be captured as a CUDA graph. In a subprocess, because the cache of
constant tables would keep fake tensors.
"""

import subprocess
import sys
from pathlib import Path

import pytest

_CODE = """
import dataclasses, sys, traceback
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

def devices(tree):
    return {x.device.type for x in tree_leaves(tree) if isinstance(x, torch.Tensor) and x.dim()}

class Recorder(TorchDispatchMode):
    recorded = []
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = str(func)
        synchronises = any(op in name for op in ("_local_scalar_dense", "nonzero", "unique", "equal.default"))
        if synchronises or len(devices((args, kwargs, result))) > 1:
            stack = [f for f in traceback.extract_stack() if "/torch/" not in f.filename]
            self.recorded.append(f"{name} after {stack[-2].filename}:{stack[-2].lineno}")
        return result

import torchprim as tp
with FakeTensorMode(allow_non_fake_inputs=True):
    if sys.argv[1] == "four":
        separator = tp.StemSeparator()
    elif sys.argv[1] == "network of four":
        sources = tp.StemSeparator().sources
        config = dataclasses.replace(tp.NETWORKS["small"], sources=sources, cues="four", channels=4)
        with torch.device("cuda"):
            separator = tp.NetworkStemSeparator(tp.build_network(config).eval())
    else:
        separator = tp.PrimitiveSeparator(sys.argv[1])
    rate = separator.geometry.sample_rate
    audio = torch.empty(2, 2, round(0.15 * rate), device="cuda")  # stereo
    randperm = torch.randperm
    torch.randperm = lambda n, *, generator=None, device=None: randperm(n, device="cuda")
    with torch.no_grad():
        for run in range(2):
            Recorder.recorded.clear()
            with Recorder():
                stems = separator(audio, rate, channels=True, generator=torch.Generator())
            if run == 0:
                assert Recorder.recorded, "constant tables are copied from the host: nothing was recorded"
assert stems.stems["vocals"].device.type == stems.confidence.device.type == "cuda"
print("\\n".join(Recorder.recorded))
"""


@pytest.mark.parametrize("preset", ["best", "paper", "four", "network of four"])
def test_separation_neither_copies_nor_synchronises(preset):
    command = [sys.executable, "-c", _CODE, preset]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-1000:]
    assert run.stdout.strip() == ""
