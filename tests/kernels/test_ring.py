"""The ring between threads: its offsets in the interpreter, and that compiled kernels share memory for it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

import triton
import triton.language as tl

from tests.support.kernel_tools import DEVICE, runs_kernels
from torchprim.kernels.paths.ring import fetch, fetch4, open_ring, past, put, put4, ring_memory


@triton.jit
def _reverse(ring_ptr, x_ptr, out_ptr, T: tl.constexpr, BAND: tl.constexpr):
    """Reverse groups of four numbers, then numbers, through the two rows of a ring."""
    item, thread = tl.program_id(0), tl.arange(0, T)
    ring = open_ring(ring_ptr + item * (8 * T), BAND, 8 * T)
    row = past(ring, 4 * T)
    x = x_ptr + item * (4 * T) + 4 * thread
    put4(ring, 4 * thread, tl.load(x), tl.load(x + 1), tl.load(x + 2), tl.load(x + 3))
    tl.debug_barrier()
    x0, x1, x2, x3 = fetch4(ring, 4 * (T - 1 - thread))
    put(row, thread, x0)
    put(row, T + thread, x1)
    put(row, 2 * T + thread, x2)
    put(row, 3 * T + thread, x3)
    tl.debug_barrier()
    for r in tl.static_range(4):
        tl.store(out_ptr + item * (4 * T) + 4 * thread + r, fetch(row, (3 - r) * T + thread))


@runs_kernels
@pytest.mark.parametrize("band", [16, -1])  # in shared memory, but in the interpreter; in global memory
@pytest.mark.parametrize("groups", [32, 128])
def test_threads_exchange_numbers(groups, band, poisoned):
    x = torch.arange(2 * 4 * groups, dtype=torch.float32, device=DEVICE).reshape(2, -1)
    out, ring = torch.empty_like(x), ring_memory(2, 8 * groups, band, x)
    _reverse[(2,)](ring, x, out, T=groups, BAND=band, num_warps=groups // 32)
    assert torch.equal(out, x.flip(1))


SHARED = """
import json
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.tools.disasm import get_sass
from torchprim.kernels.paths import forward_backward_walk_triton as walk, viterbi_scores_triton as scores
made = {}
for module in (scores, walk):
    for c in module.configurations():
        if c.common and "BAND" in c.constants:
            types = {name: c.signature.get(name, "constexpr") for name in c.kernel.arg_names}
            aligned = {(i,): [["tt.divisibility", 16]] for i, t in enumerate(types.values()) if t[0] == "*"}
            source = ASTSource(c.kernel, types, dict(c.constants), aligned)
            options = {"num_warps": c.warps, "num_stages": c.stages}
            asm = compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm
            made[c.name] = asm["ptx"], get_sass(asm["cubin"])
print(json.dumps(made))
"""


def test_compiled_kernels_have_one_ring_in_shared_memory():
    """A copy of it would be a second ring, and a copy of a load takes the time of the load again."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    root = Path(__file__).parents[2]
    child = subprocess.run(
        [sys.executable, "-c", SHARED], cwd=root, env=environment, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr[-2000:]
    made = json.loads(child.stdout.splitlines()[-1])
    assert len(made) == 3  # scores; the walk without tangents and with them
    for name, (ptx, sass) in made.items():
        assert len(re.findall(r"\.shared \.align 16 \.b8 ring\[", ptx)) == 1, name
        frames = int(re.search(r"AHEAD=(\d+)", name)[1])
        each = 9 * (1 + ("TANGENT=True" in name))  # loads of a thread in a frame
        assert len(re.findall(r"\bLDS\b", sass)) == frames * each, name
