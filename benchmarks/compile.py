"""Compile all kernels without a GPU: registers, spills and shared memory.

Each configuration that a kernel can be launched with goes through ptxas, which Triton brings along, for
compute capabilities 8.0 and 9.0. The exit status is 1 where one does not compile or spills.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from torchprim.evaluation import markdown

ROOT = Path(__file__).resolve().parent.parent
TARGETS = (80, 90)


class Compiled(NamedTuple):
    """Resources of one kernel on one target, as ptxas reports them."""

    kernel: str
    capability: int
    registers: int
    spilled: int  # bytes stored and loaded
    shared: int  # bytes
    failure: str = ""


def operators() -> list[str]:
    """List the files of kernels, with their folder and without suffix: `hpss.sliding_median`."""
    kernels = ROOT / "kernels"
    paths = (path.relative_to(kernels) for path in kernels.rglob("*_triton.py"))
    return sorted(".".join(path.parts).removesuffix("_triton.py") for path in paths)


def _assembled(ptx: str, capability: int) -> tuple[int, int, int]:
    """Return registers of a thread, bytes spilled, and bytes of shared memory declared, from `ptxas -v`."""
    from triton import knobs

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        arch = f"sm_{capability}a" if capability == 90 else f"sm_{capability}"
        command = [knobs.nvidia.ptxas.path, "-v", f"--gpu-name={arch}", str(source), "-o", os.devnull]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    registers = max(int(n) for n in re.findall(r"Used (\d+) registers", report))
    spilled, declared = (sum(map(int, re.findall(rf"(\d+) bytes {x}", report))) for x in ("spill", "smem"))
    return registers, spilled, declared


def _pointers(types: Iterable[str | tuple[str, ...]]) -> Iterator[tuple[int, ...]]:
    """List the indices of pointers among a kernel's arguments: `(i,)`, or `(i, j)` in a tuple."""
    for i, dtype in enumerate(types):
        if isinstance(dtype, tuple):
            yield from ((i, j) for j, item in enumerate(dtype) if item.startswith("*"))
        elif dtype.startswith("*"):
            yield (i,)


def compile_operator(operator: str, common: bool) -> list[Compiled]:
    """Compile all configurations of an operator, or those of the primitives' defaults, for all targets.

    Not under TRITON_INTERPRET: functions decorated for the interpreter cannot be compiled.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module = importlib.import_module(f"torchprim.kernels.{operator}_triton")
    rows = []
    for configuration in module.configurations():
        if common and not configuration.common:
            continue
        kernel, constants = configuration.kernel, dict(configuration.constants)
        order = {name: configuration.signature.get(name, "constexpr") for name in kernel.arg_names}
        # As at a launch: pointers and the sizes that PyTorch's allocator gives are aligned.
        aligned = {index: [["tt.divisibility", 16]] for index in _pointers(order.values())}
        options = {"num_warps": configuration.warps, "num_stages": configuration.stages}
        for capability in TARGETS:
            name = f"{operator}: {configuration.name} warps={configuration.warps}"
            try:
                source = ASTSource(kernel, order, constants, aligned)
                made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
                registers, spilled, declared = _assembled(made.asm["ptx"], capability)
                shared = made.metadata.shared + declared  # laid out by Triton, and by a kernel's own PTX
                rows.append(Compiled(name, capability, registers, spilled, shared))
            except Exception as error:
                rows.append(Compiled(name, capability, 0, 0, 0, f"{type(error).__name__}: {error}"[:500]))
    return rows


def compile_in_child(operator: str, common: bool = False) -> list[Compiled]:
    """Run `compile_operator` in a process without the interpreter."""
    arguments = [sys.executable, "-m", "benchmarks.compile", operator, *(["--common"] if common else [])]
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    child = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True)
    if child.returncode:
        raise RuntimeError(f"{operator} could not be compiled: {child.stderr.strip()[-1000:]}")
    return [Compiled(*row) for row in json.loads(child.stdout.splitlines()[-1])]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--operators", nargs="*", default=operators(), help="some of them (all)")
    parser.add_argument("--common", action="store_true", help="only what the primitives' defaults launch")


def table(rows: list[Compiled]) -> str:
    """Format a row for each configuration, the targets side by side."""
    by_target = {(row.kernel, row.capability): row for row in rows}
    lines = []
    for name in dict.fromkeys(row.kernel for row in rows):
        cells = []
        for row in (by_target[name, capability] for capability in TARGETS):
            cells += [row.failure or str(row.registers), str(row.spilled), str(row.shared)]
        lines.append([name, *cells])
    head = [f"sm_{c} {what}" for c in TARGETS for what in ("registers", "spills", "shared")]
    return markdown.table(["kernel", *head], lines)


def run(options: argparse.Namespace) -> str:
    import triton
    from tqdm import tqdm

    rows = []
    for operator in tqdm(options.operators, desc="compiling", unit="operator"):
        rows += compile_in_child(operator, options.common)
    bad = [row for row in rows if row.failure or row.spilled]
    options.status = 1 if bad else 0
    summary = (
        f"{len(rows) - len(bad)} of {len(rows)} compile and spill nothing (Triton {triton.__version__})."
    )
    units = "Registers a thread, bytes spilled, bytes of shared memory; from ptxas, with no GPU."
    return f"# Kernels as compiled\n\n{units} {summary}\n\n{table(rows)}"


if __name__ == "__main__":
    print(json.dumps(compile_operator(sys.argv[1], "--common" in sys.argv)))
