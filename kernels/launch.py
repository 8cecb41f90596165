"""Launch settings of kernels, to compile them without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Types = Mapping[str, str | tuple[str, ...]]


class Configuration(NamedTuple):
    """Types and constants of a launch.

    `configurations()` of each `*_triton.py` lists them, from the table that its launches read, so that the
    compiled kernels are those that run.

    Args:
        kernel: function decorated with `@triton.jit`.
        signature: argument -> Triton type (`*fp32`, `i32`, `fp32`), those that are not constants; a tuple of
            tensors has a tuple of types.
        constants: `tl.constexpr` argument -> value.
        warps: of a program.
        stages: of the software pipeline.
        common: whether the defaults of the primitives use it; the tests compile those.
    """

    kernel: Any
    signature: Types
    constants: Mapping[str, Any]
    warps: int = 4
    stages: int = 2
    common: bool = True

    @property
    def name(self) -> str:
        """Return kernel, constants, pointer types and that of a result in half precision, for a table."""
        constants = " ".join(f"{k}={v}" for k, v in self.constants.items())
        tuples = (t if isinstance(t, tuple) else (t,) for t in self.signature.values())
        pointers = " ".join(sorted({t for types in tuples for t in types if t.startswith("*")}))
        out = self.signature.get("out_ptr")
        pointers += f" to {out}" if out in ("*fp16", "*bf16") else ""
        return f"{self.kernel.__name__} {constants} {pointers}"

    @classmethod
    def of(
        cls, kernel: Any, types: Types, constants: Mapping[str, Any], *options: int, common: bool = True
    ) -> Configuration:
        """Look up the signature in a table of types for several kernels.

        Args:
            kernel: function decorated with `@triton.jit`.
            types: argument -> Triton type; constants and other kernels' arguments are skipped.
            constants: `tl.constexpr` argument -> value.
            options: warps and stages.
            common: whether the defaults of the primitives use it.
        """
        names = (name for name in kernel.arg_names if name in types and name not in constants)
        return cls(kernel, {name: types[name] for name in names}, constants, *options, common=common)
