"""Device and rank of a process, from the option and the environment variables of torchrun."""

import pytest
import torch

from torchprim.training.ranks import find_device, find_ranks


@pytest.mark.parametrize("available", [False, True])
def test_auto_is_cuda_if_available(monkeypatch, available):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert find_device("cpu") == "cpu"
    assert find_device("auto") == ("cuda" if available else "cpu")
    if available:
        assert find_device("cuda") == "cuda"
    else:
        with pytest.raises(ValueError, match=r"^device cuda was asked for, but torch finds no CUDA device"):
            find_device("cuda")


@pytest.mark.parametrize("available", [False, True])
def test_apples_gpu_is_taken_only_on_request(monkeypatch, available):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: available)
    assert find_device("auto") == "cpu"
    if available:
        assert find_device("mps") == "mps" and find_ranks("mps") == (0, 1, torch.device("mps"))
        for name, value in (("RANK", "0"), ("WORLD_SIZE", "2")):
            monkeypatch.setenv(name, value)
        with pytest.raises(ValueError, match=r"^device mps takes one process, got WORLD_SIZE 2$"):
            find_ranks("mps")
    else:
        with pytest.raises(ValueError, match=r"^device mps was asked for, but torch finds no Apple GPU"):
            find_device("mps")


def test_ranks_of_torchrun(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert find_ranks("cuda") == (0, 1, torch.device("cuda"))
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert find_ranks("cuda") == (5, 8, torch.device("cuda:1"))
    assert find_ranks("cpu") == (5, 8, torch.device("cpu"))
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(ValueError, match=r"must be whole numbers: .*many"):
        find_ranks("cpu")
    monkeypatch.setenv("WORLD_SIZE", "5")
    with pytest.raises(ValueError, match=r"^RANK must lie in \[0, WORLD_SIZE\), got 5 with WORLD_SIZE 5$"):
        find_ranks("cpu")
