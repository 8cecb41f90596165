"""Fixtures of the command line's tests."""

import pytest

from tests.support.separating import HalvingSeparator
from torchprim.cli.separate import command


@pytest.fixture
def halves(monkeypatch):
    """A quick separator in the place of the real one, which counts its songs."""
    monkeypatch.setattr(command, "build_separator", lambda settings: HalvingSeparator())
    monkeypatch.setattr(HalvingSeparator, "songs", 0)
    return HalvingSeparator
