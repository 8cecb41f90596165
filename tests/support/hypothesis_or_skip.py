"""Hypothesis for tests that also run on a GPU: on a machine that lacks it, its tests skip, the others run."""

try:
    from hypothesis import given, settings
    from hypothesis import strategies as st
except ImportError:
    from unittest.mock import MagicMock

    import pytest

    def given(*_, **__):
        return pytest.mark.skip(reason="hypothesis is not installed")

    def settings(*_, **__):
        return lambda test: test

    st = MagicMock()

__all__ = ["given", "settings", "st"]
