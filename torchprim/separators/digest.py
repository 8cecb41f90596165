"""Digests of modules and tensors, for the cache keys of what they compute."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn


def state_digest(module: nn.Module) -> str:
    """Compute a digest of a module's `state_dict`, independent of the device: 12 hex digits of SHA-256.

    Example:
        >>> import torch
        >>> from torchprim.separators.digest import state_digest
        >>> one, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        >>> state_digest(one) == state_digest(one), state_digest(one) == state_digest(other)
        (True, False)
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(_content(value))
    return digest.hexdigest()[:12]


def tensor_digest(value: Tensor) -> str:
    """Describe a tensor by dtype, shape and a digest of its values, independent of the device.

    Example:
        >>> import torch
        >>> from torchprim.separators.digest import tensor_digest
        >>> tensor_digest(torch.zeros(2, 3))
        'torch.float32 (2, 3) 9d908ecfb6b2'
    """
    digest = hashlib.sha256(_content(value)).hexdigest()[:12]
    return f"{value.dtype} {tuple(value.shape)} {digest}"


def _content(value: Tensor) -> bytes:
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
