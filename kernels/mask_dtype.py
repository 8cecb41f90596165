"""The dtype in which a kernel writes a mask, for others to read."""

from __future__ import annotations

import torch
from torch import Tensor


def mask_dtype(dtype: torch.dtype | None, default: torch.dtype, *inputs: Tensor | None) -> torch.dtype:
    """Check the dtype in which a mask is stored; return it.

    Arithmetic stays in `default`, and a mask is rounded once, as it is written: to float16 by at most 2^-12.
    Gradients of a mask, one bin of a mean over millions, are below float16's least number, 6e-8.

    Args:
        dtype: float16, float32, or None for `default`.
        default: of the arithmetic.
        inputs: tensors that the mask depends on.

    Raises:
        ValueError: for another dtype, and for float16 where an input needs a gradient.

    Example:
        >>> import torch
        >>> from torchprim.kernels.mask_dtype import mask_dtype
        >>> mask_dtype(None, torch.float64), mask_dtype(torch.float16, torch.float32, torch.ones(1))
        (torch.float64, torch.float16)
    """
    if dtype is None:
        return default
    if dtype not in (torch.float16, torch.float32):
        raise ValueError(f"a mask's dtype must be torch.float16 or torch.float32, got {dtype}")
    needed = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)
    if dtype == torch.float16 and needed:
        raise ValueError("masks in torch.float16 pass no gradient on: use torch.float32, or torch.no_grad()")
    return dtype
