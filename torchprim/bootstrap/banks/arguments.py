"""Checks of a bank's arguments, and where its samples live."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence

import torch

from torchprim import checks

RESIDENCES = ("auto", "device", "pinned")
# Largest part of the free device memory that a bank takes under `auto`; the rest is for training.
_DEVICE_MEMORY_SHARE = 0.4

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def check_settings(
    rate: int, segment_seconds: float, hop_seconds: float, quietest: float, residence: str
) -> int:
    """Check the numbers and the residence; return the rate.

    Raises:
        ValueError: for one out of range.
    """
    rate = checks.file_rate(rate, "sample_rate")
    for name, seconds in (("segment_seconds", segment_seconds), ("hop_seconds", hop_seconds)):
        if checks.positive(checks.number(seconds, name), name) * rate < 1:
            raise ValueError(f"{name} must be at least a sample, got {seconds!r}")
    if not isinstance(quietest, (int, float)) or math.isnan(quietest):
        raise ValueError(f"quietest must be a level in LUFS, got {quietest!r}")
    if residence not in RESIDENCES:
        raise ValueError(f"residence must be one of {', '.join(RESIDENCES)}, got {residence!r}")
    return rate


def checked_paths(folders: Paths) -> Sequence[str | os.PathLike[str]]:
    """Return a list of paths, also of a single one.

    Raises:
        TypeError: for what is no path.
        ValueError: for none.
    """
    paths = list(folders) if isinstance(folders, Iterable) and not isinstance(folders, str) else [folders]
    for path in paths:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"folders must be paths, got {path!r}")
    if not paths:
        raise ValueError("folders must name at least one file or folder, got none")
    return paths


def usable_device(device: str | torch.device) -> torch.device:
    """Return a device that torch can use.

    Raises:
        ValueError: for another, with torch's reason.
    """
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"device must be one that torch can use, got {device!r} ({reason})") from error


def use_pinned(residence: str, device: torch.device, size: int) -> bool:
    """Return whether samples of `size` bytes go to page-locked host memory."""
    if device.type != "cuda" or residence == "device":
        return False
    if residence == "pinned":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return size > _DEVICE_MEMORY_SHARE * free
