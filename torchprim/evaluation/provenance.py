"""Where results come from: package versions, processor, device."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from torchprim.version import __version__


def processor() -> str:
    """Return the processor's model name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def processor_line() -> str:
    """Describe the processor and how OpenMP's idle threads wait, for the end of a page."""
    policy = os.environ.get("OMP_WAIT_POLICY", "not set")
    return f"CPU: {processor()}, {os.cpu_count()} logical cores seen, OMP_WAIT_POLICY {policy}"


def package_versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python, torchprim, torch and further packages by name.

    Example:
        >>> from torchprim.evaluation.provenance import package_versions
        >>> list(package_versions("numpy"))
        ['Python', 'torchprim', 'torch', 'numpy']
        >>> package_versions("no-such-package")["no-such-package"]
        'absent'
    """
    versions = {"Python": platform.python_version(), "torchprim": __version__, "torch": torch.__version__}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    return versions


def versions_line(*packages: str) -> str:
    """Return the versions of `package_versions` in one line.

    Example:
        >>> from torchprim.evaluation.provenance import versions_line
        >>> versions_line("no-such-package").rpartition(", ")[2]
        'no-such-package absent'
    """
    return ", ".join(f"{name} {number}" for name, number in package_versions(*packages).items())


def device_name(device: str | torch.device) -> str:
    """Return the GPU's name, or the processor's with the number of threads of torch."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cores = f"{os.cpu_count()} logical cores seen, {torch.get_num_threads()} threads used"
    return f"CPU {processor()}, {cores}"
