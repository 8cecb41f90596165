"""Fixtures of the separators' tests."""

import pytest


@pytest.fixture(scope="session")
def mix(drum_loop, voice):
    return drum_loop + voice
