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


def start_ranks(name: str) -> Ranks:
    """Rank, world and device: alone, or what torchrun's variables say.

    Args:
        name: of the device: `auto`, `cpu`, `cuda`.

    Raises:
        ValueError: where the device is not there.
    """
    there = torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if there else "cpu"
    if name.startswith("cuda") and not there:
        raise ValueError(f"device {name} was asked for, but torch finds no CUDA device here")
    if "RANK" not in os.environ:
        return Ranks(0, 1, torch.device(name))
    device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if name.startswith("cuda") else name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # One rank may decode, or write examples, while the others wait; a rank that died is torchrun's to see.
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=6))
    return Ranks(dist.get_rank(), dist.get_world_size(), device)
