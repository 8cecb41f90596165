"""How kernels are launched, in a form that a compiler can be asked about without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Configuration(NamedTuple):
    """One way in which a kernel can be launched.

    Each `*_triton.py` lists its own through `configurations()`, from the table that its launches read, so
    that what was compiled and what runs are the same.

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
    signature: Mapping[str, str | tuple[str, ...]]
    constants: Mapping[str, Any]
    warps: int = 4
    stages: int = 2
    common: bool = True

    @property
    def name(self) -> str:
        """Kernel and constants, for a table."""
        constants = " ".join(f"{k}={v}" for k, v in self.constants.items())
        kinds = (kind if isinstance(kind, tuple) else (kind,) for kind in self.signature.values())
        types = " ".join(sorted({t for kind in kinds for t in kind if t.startswith("*")}))
        return f"{self.kernel.__name__} {constants} {types}"
