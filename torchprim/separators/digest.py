"""Digests of modules, for the cache keys of what they compute."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


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
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
