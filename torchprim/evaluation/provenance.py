"""Where results come from: versions, processor, device."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from torchprim.version import __version__


def processor() -> str:
    """The processor's name, as the system knows it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, torchprim, torch and further packages.

    Example:
        >>> from torchprim.evaluation.provenance import versions
        >>> list(versions("numpy", "no-such-package"))[-2:], versions("no-such-package")["no-such-package"]
        (['numpy', 'no-such-package'], 'absent')
    """
    found = {"Python": platform.python_version(), "torchprim": __version__, "torch": torch.__version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def device_name(device: str | torch.device) -> str:
    """The GPU's name, or the processor's with the number of threads that torch uses."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cores = f"{os.cpu_count()} logical cores seen, {torch.get_num_threads()} threads used"
    return f"CPU {processor()}, {cores}"
