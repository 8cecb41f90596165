"""Ranks of a distributed training under `torchrun`: device, process group, errors raised on all ranks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist

from torchprim.errors import FileError

# Errors that a user can fix; any other is a bug, and keeps its traceback.
USER_ERRORS = (FileError, ValueError, OSError, ImportError)


class RankError(Exception):
    """An error on some rank, in one line."""


class Ranks(NamedTuple):
    """Rank of this process, world size and device."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes the files of the run and shows progress."""
        return self.rank == 0

    @contextmanager
    def sharing_errors(self) -> Iterator[None]:
        """Raise an error of the block on all ranks, so that none waits for one that failed.

        All ranks have to enter the block. With one rank the error itself is raised.

        Raises:
            RankError: on every rank, for a user error on any: the message of the lowest rank that failed.
        """
        message = None
        try:
            yield
        except USER_ERRORS as error:
            if self.world == 1:
                raise
            message = f"process {self.rank} of {self.world}: {error}"
        if self.world > 1:
            messages: list[str | None] = [None] * self.world
            dist.all_gather_object(messages, message)
            errors = [message for message in messages if message is not None]
            if errors:
                raise RankError(errors[0])


def find_device(name: str, argument: str = "device") -> str:
    """Resolve the name of a device: `auto` is `cuda` if torch finds a CUDA device, else `cpu`.

    Args:
        name: `auto`, `cpu` or `cuda`.
        argument: name of the argument in the error.

    Raises:
        ValueError: for `cuda` without a CUDA device.

    Example:
        >>> from torchprim.training.ranks import find_device
        >>> find_device("cpu")
        'cpu'
    """
    available = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if available else "cpu"
    if name.startswith("cuda") and not available:
        raise ValueError(f"{argument} {name} was asked for, but torch finds no CUDA device here")
    return name


def find_ranks(device: str) -> Ranks:
    """Read rank, world size and local rank from the environment variables of torchrun.

    Args:
        device: `cpu` or `cuda`, from `find_device`; on `cuda` each rank gets the GPU of its local rank.

    Raises:
        ValueError: for a variable that is not an integer.

    Example:
        >>> from torchprim.training.ranks import find_ranks
        >>> find_ranks("cpu")
        Ranks(rank=0, world=1, device=device(type='cpu'))
    """
    if "RANK" not in os.environ:
        return Ranks(0, 1, torch.device(device))
    variables = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    try:
        rank, world, local = (int(os.environ.get(name, default)) for name, default in variables.items())
    except ValueError as error:
        raise ValueError(f"RANK, WORLD_SIZE and LOCAL_RANK must be whole numbers: {error}") from error
    return Ranks(rank, world, torch.device(f"cuda:{local}" if device.startswith("cuda") else device))


def start_ranks(name: str) -> Ranks:
    """Resolve the device, and initialise the process group under torchrun.

    Args:
        name: of the device: `auto`, `cpu` or `cuda`.

    Raises:
        ValueError: for `cuda` without a CUDA device, or an environment variable that is not an integer.
    """
    ranks = find_ranks(find_device(name))
    if "RANK" not in os.environ:
        return ranks
    on_cuda = ranks.device.type == "cuda"
    if on_cuda:
        torch.cuda.set_device(ranks.device)
    # A long timeout: all wait while one decodes or validates, and torchrun itself ends ranks if one dies.
    dist.init_process_group("nccl" if on_cuda else "gloo", timeout=timedelta(hours=6))
    return ranks
