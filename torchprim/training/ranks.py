"""Ranks of a distributed training under `torchrun`: device, process group, errors raised on all ranks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist

from torchprim.errors import FileError, is_out_of_memory

# Errors that a user can fix; any other is a bug, and keeps its traceback.
USER_ERRORS = (FileError, ValueError, OSError, ImportError, MemoryError)
_START = timedelta(minutes=10)  # until all processes are there
# All wait while one decodes, labels or validates; a process that ends closes its connections at once.
_WAIT = timedelta(hours=6)


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

        All ranks have to enter the block. With one rank the error itself is raised, and on the rank of a bug
        that, too, with its traceback.

        Raises:
            RankError: on every rank, for an error on any: the message of the lowest rank that failed.
        """
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            if self.world == 1:
                raise
            failure = error
        if self.world > 1:
            message = None if failure is None else f"process {self.rank} of {self.world}: {reason(failure)}"
            messages: list[str | None] = [None] * self.world
            dist.all_gather_object(messages, message)
            if failure is not None and not _is_users(failure):
                raise failure
            errors = [message for message in messages if message is not None]
            if errors:
                raise RankError(errors[0]) from failure

    @contextmanager
    def naming_errors(self) -> Iterator[None]:
        """Convert what a rank meets alone: its memory is exhausted, or another rank has ended.

        Ranks that wait for one that ends fail, too, and so all end.

        Raises:
            MemoryError, ConnectionError: one line, with the rank if there are several.
        """
        prefix = f"process {self.rank} of {self.world}: " if self.world > 1 else ""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise MemoryError(
                    f"{prefix}not enough memory; fewer sequences or frames need less"
                ) from error
            if self.world > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise ConnectionError(f"{prefix}another process has ended") from error
            raise


def reason(error: Exception) -> str:
    """Describe an error in one line: in words for the user's, with its type for a bug."""
    if is_out_of_memory(error):
        return "not enough memory"
    return " ".join(str(error).split()) if _is_users(error) else f"{type(error).__name__}: {error}"


def _is_users(error: Exception) -> bool:
    return isinstance(error, USER_ERRORS) or is_out_of_memory(error)


def find_device(name: str, argument: str = "device") -> str:
    """Resolve the name of a device: `auto` is `cuda` if torch finds a CUDA device, else `cpu`.

    `mps`, Apple's GPU, has to be asked for: nothing has been run on one.

    Args:
        name: `auto`, `cpu`, `cuda` or `mps`.
        argument: name of the argument in the error.

    Raises:
        ValueError: for `cuda` or `mps` without such a device.

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
    if name.startswith("mps") and not torch.backends.mps.is_available():
        raise ValueError(f"{argument} {name} was asked for, but torch finds no Apple GPU here")
    return name


def find_ranks(device: str) -> Ranks:
    """Read rank, world size and local rank from the environment variables of torchrun.

    Args:
        device: from `find_device`; on `cuda` each rank gets the GPU of its local rank.

    Raises:
        ValueError: for a variable that is not an integer, a rank outside the world size, or several ranks on
            `mps`, for which torch has no process group.

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
    if not 0 <= rank < world:
        raise ValueError(f"RANK must lie in [0, WORLD_SIZE), got {rank} with WORLD_SIZE {world}")
    if world > 1 and device == "mps":
        raise ValueError(f"device mps takes one process, got WORLD_SIZE {world}")
    return Ranks(rank, world, torch.device(f"cuda:{local}" if device.startswith("cuda") else device))


def start_ranks(name: str) -> Ranks:
    """Resolve the device, and initialise the process group under torchrun.

    Args:
        name: of the device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        ValueError: for `cuda` without a CUDA device, or an environment variable out of range.
        ConnectionError: where not all processes are there after 10 minutes.
    """
    ranks = find_ranks(find_device(name))
    if "RANK" not in os.environ:
        return ranks
    on_cuda = ranks.device.type == "cuda"
    if on_cuda:
        torch.cuda.set_device(ranks.device)
    try:
        store, rank, world = next(dist.rendezvous("env://", timeout=_START))
        store = dist.PrefixStore("default_pg", store)
        backend = "nccl" if on_cuda else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=_WAIT)
    except dist.DistError as error:
        raise ConnectionError(f"process {ranks.rank} of {ranks.world}: the others are missing") from error
    return ranks
