"""Music, settings and a finished run that tests of train.py share."""

import pytest

from tests.support.training_runs import TINY, steps, train, write_music


@pytest.fixture(scope="session")
def music(tmp_path_factory):
    return write_music(tmp_path_factory.mktemp("data") / "music", 7)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def common(music, cache, tmp_path_factory):
    """Arguments of all bootstrapped runs, which share their labels."""
    labels = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    data = ["--audio", music, "--cache", cache, "--labels", labels, "--teacher-preset", "companion"]
    return [*map(str, data), *TINY]


@pytest.fixture(scope="session")
def whole(common, tmp_path_factory):
    """A run that was not interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert train([*common, "--out", str(run), *steps(24)]) == 0
    return run
