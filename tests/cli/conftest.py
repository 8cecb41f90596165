"""Fixtures of the command line's tests."""

import pytest

from tests.support.separating import HalvingSeparator
from torchprim.cli import separate


@pytest.fixture
def halves(monkeypatch):
    """A quick separator in the place of the real one, which counts its songs."""
    monkeypatch.setattr(separate, "build_separator", lambda settings: HalvingSeparator())
    monkeypatch.setattr(HalvingSeparator, "songs", 0)
    return HalvingSeparator
