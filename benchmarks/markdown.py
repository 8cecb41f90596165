"""Tables in Markdown, and the line that says where numbers come from."""

from __future__ import annotations

import os
from collections.abc import Sequence

from torchprim.evaluation import provenance


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def versions(*packages: str) -> str:
    """Versions of Python, torchprim, torch and further packages, in one line."""
    return ", ".join(f"{name} {number}" for name, number in provenance.versions(*packages).items())


def device_line() -> str:
    """What the numbers were measured on."""
    policy = os.environ.get("OMP_WAIT_POLICY", "not set")
    return f"CPU: {provenance.processor()}, {os.cpu_count()} logical cores seen, OMP_WAIT_POLICY {policy}"
