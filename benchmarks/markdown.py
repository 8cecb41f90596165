"""Tables in Markdown, and the line that says where numbers come from."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from torchprim import __version__


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def processor() -> str:
    """The processor's name, as the system knows it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions(*packages: str) -> str:
    """Versions of Python, torchprim, torch and further packages, in one line."""
    found = [f"Python {platform.python_version()}", f"torchprim {__version__}", f"torch {torch.__version__}"]
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} absent")
    return ", ".join(found)


def device_line() -> str:
    """What the numbers were measured on."""
    policy = os.environ.get("OMP_WAIT_POLICY", "not set")
    return f"CPU: {processor()}, {os.cpu_count()} logical cores seen, OMP_WAIT_POLICY {policy}"
