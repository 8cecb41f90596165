"""Launches of Triton kernels without a GPU: recorded with their real arguments, and compiled as for Hopper.

The host code of an operator runs on fake CUDA tensors. Triton's own binder chooses the types and constants of
each launch (a size of 1 is a constant, a multiple of 16 is known as one), as it does on a device; then the
kernel is compiled, once for each choice, and nothing is launched.

Not under TRITON_INTERPRET: functions decorated for the interpreter cannot be compiled.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
import triton
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.compiler.compiler import ir
from triton.runtime.jit import JITFunction, create_function_from_signature

from torchprim.kernels import register

_TARGET = GPUTarget("cuda", 90, 32)
_GRID = (2**31 - 1, 65535, 65535)  # CUDA's limits
_MADE: dict[tuple, tuple[Any, str]] = {}  # of each choice of types and constants: result and failure
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


class Launch(NamedTuple):
    """A launch that was recorded.

    Args:
        kernel: its name, with that of its module.
        grid: numbers of programs.
        arguments: values in the order of the compiled function's arguments; constants are left out.
        warps: of a program.
        made: what the compiler made of it.
        failure: why it would fail; empty where it would not.
    """

    kernel: str
    grid: tuple[int, int, int]
    arguments: list[Any]
    warps: int
    made: Any
    failure: str


class _Pointer:
    """Stand-in for a tensor, which a fake tensor's address cannot be read from: aligned, as an allocation."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.dtype = tensor, tensor.dtype

    def data_ptr(self) -> int:
        return self.tensor.storage_offset() * self.tensor.element_size()

    def ptr_range(self) -> int:
        return 0


def _flat(values: Any, types: Any) -> Iterator[Any]:
    """List the values that are no constants, tuples flattened."""
    for value, dtype in zip(values, types, strict=True):
        if isinstance(dtype, tuple):
            yield from _flat(value, dtype)
        elif dtype != "constexpr":
            yield value.tensor if isinstance(value, _Pointer) else value


def to_ttir(source: ASTSource, options: dict) -> str:
    """Compile to Triton's intermediate representation, with loops and branches as written."""
    backend = make_backend(_TARGET)
    parsed = backend.parse_options(options)
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    stages: dict[str, Callable] = {}
    backend.add_stages(stages, parsed, source.language)
    implementations = backend.get_codegen_implementation(parsed), backend.get_module_map()
    module = source.make_ir(_TARGET, parsed, *implementations, context)
    return stages["ttir"](module, {}).str_nodebug()


def to_machine_code(source: ASTSource, options: dict) -> None:
    """Compile by ptxas.

    Raises:
        RuntimeError: where the kernel spills registers, or needs more shared memory than there is.
    """
    made = triton.compile(source, target=_TARGET, options=options)
    if made.metadata.shared > 232448:
        raise RuntimeError(f"needs {made.metadata.shared} bytes of shared memory")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(made.asm["cubin"])
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spilled = max(int(n) for n in re.findall(r"STACK:(\d+)", usage))
    if spilled:
        raise RuntimeError(f"spills {spilled} bytes a thread")


@cache
def _binder(kernel: JITFunction) -> Callable:
    return create_function_from_signature(kernel.signature, kernel.params, make_backend(_TARGET))


@contextmanager
def recorded(note: Callable[[Launch], None], make: Callable[[ASTSource, dict], Any]) -> Iterator[None]:
    """Record launches instead of sending them to a device; operators take their kernels for all tensors.

    Args:
        note: called with each launch.
        make: source and options -> what is kept of a compiled kernel; `to_ttir` or `to_machine_code`.
    """
    backend = make_backend(_TARGET)

    def run(self: JITFunction, *arguments, grid, warmup, **options):
        name = f"{self.fn.__module__.rpartition('.')[2].removesuffix('_triton')}: {self.fn.__name__}"
        stands = tree_map(lambda x: _Pointer(x) if isinstance(x, Tensor) else x, (arguments, options))
        bound, specialization, rest = _binder(self)(*stands[0], **stands[1])
        parsed, signature, constants, attributes = self._pack_args(
            backend, stands[1], bound, specialization, rest
        )
        key = (make, self, str(specialization), str(parsed))
        if key not in _MADE:
            source = ASTSource(self, signature, constants, attributes)
            try:
                _MADE[key] = make(source, parsed.__dict__), ""
            except Exception as error:  # the others of a run are recorded, too
                _MADE[key] = None, f"{type(error).__name__}: {' '.join(str(error).split())[-300:]}"
        result, failure = _MADE[key]
        x, y, z = (*(grid(bound) if callable(grid) else grid), 1, 1)[:3]
        if any(n > limit for n, limit in zip((x, y, z), _GRID, strict=True)):
            failure = failure or f"grid {x, y, z} is beyond CUDA's limits"
        values = list(_flat(bound.values(), signature.values()))
        note(Launch(name, (x, y, z), values, parsed.num_warps, result, failure))

    def takes_kernel(arguments: Any) -> bool:
        tensors = [x for x in tree_leaves(arguments) if isinstance(x, Tensor)]
        return all(x.dtype in _DTYPES or not x.is_floating_point() for x in tensors)

    with (
        mock.patch.object(JITFunction, "run", run),
        mock.patch.object(register, "takes_kernel", takes_kernel),
    ):
        yield
