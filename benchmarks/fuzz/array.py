"""Description of a tensor of any shape, type and device, which can be sent to another process."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch


class Array(NamedTuple):
    """Description of a tensor, which can be sent to another process."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    fill: str = "uniform"  # or zeros, nan, inf, negative, huge, tiny
    kind: str = "tensor"  # or meta, numpy, sparse, gradient, view, list

    def build(self) -> Any:
        generator = torch.Generator().manual_seed(0)
        values = torch.rand(self.shape, generator=generator, dtype=torch.float64)
        if self.fill in ("nan", "inf") and values.numel():
            values.view(-1)[-1] = float(self.fill)
        values = values * {"zeros": 0.0, "negative": -1.0, "huge": 1e38, "tiny": 1e-38}.get(self.fill, 1.0)
        tensor = values.to(getattr(torch, self.dtype))
        if self.kind == "view":
            return tensor.mT.contiguous().mT if tensor.dim() > 1 else tensor
        return {
            "tensor": lambda: tensor,
            "meta": lambda: tensor.to("meta"),
            "numpy": lambda: (tensor.float() if self.dtype == "bfloat16" else tensor).numpy(),
            "sparse": lambda: tensor.to_sparse(),
            "gradient": lambda: tensor.requires_grad_(tensor.is_floating_point() or tensor.is_complex()),
            "list": lambda: tensor.tolist(),
        }[self.kind]()
