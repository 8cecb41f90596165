"""Several processes of one training, as `torchrun` starts them; and a failure of one, told by all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist

from torchprim.errors import FileError

# What a user can mend; everything else is a fault of the program, and keeps its traceback.
FAILURES = (FileError, ValueError, OSError, ImportError)


class RankError(Exception):
    """What went wrong on some rank, in one line."""


class Ranks(NamedTuple):
    """This process among all of them, and its device."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and shows."""
        return self.rank == 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """What fails on one rank in this block ends it on all, rather than leave the others waiting.

        Raises:
            RankError: on every rank, with the line of the first one that failed.
        """
        problem = None
        try:
            yield
        except FAILURES as error:
            if self.world == 1:
                raise
            problem = f"process {self.rank} of {self.world}: {error}"
        if self.world > 1:
            problems: list[str | None] = [None] * self.world
            dist.all_gather_object(problems, problem)
            told = [line for line in problems if line is not None]
            if told:
                raise RankError(told[0])


def find_device(name: str, argument: str = "device") -> str:
    """Resolve the name of a device: `auto` is `cuda` where torch finds a CUDA device, else `cpu`.

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
    """Read rank, world size and local rank from torchrun's variables, without a process group.

    Args:
        device: `cpu` or `cuda`, from `find_device`; on `cuda` each rank gets the GPU of its local rank.

    Raises:
        ValueError: for a variable that is not a whole number.

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
    """Resolve the device, and join the process group where torchrun's variables are set.

    Args:
        name: of the device: `auto`, `cpu`, `cuda`.

    Raises:
        ValueError: where the device is not there.
    """
    ranks = find_ranks(find_device(name))
    if "RANK" not in os.environ:
        return ranks
    on_cuda = ranks.device.type == "cuda"
    if on_cuda:
        torch.cuda.set_device(ranks.device)
    # One rank may decode, or write examples, while the others wait; a rank that died is torchrun's to see.
    dist.init_process_group("nccl" if on_cuda else "gloo", timeout=timedelta(hours=6))
    return ranks
