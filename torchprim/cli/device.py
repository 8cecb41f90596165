"""The `--device` option of all commands, and the rank of a command that torchrun started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprim.cli import UsageError

if TYPE_CHECKING:
    from torchprim.training.ranks import Ranks

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str) -> str:
    """Resolve the option's value to `cpu`, `cuda` or `mps`.

    Raises:
        UsageError: for `cuda` or `mps` where torch finds no such device.

    Example:
        >>> from torchprim.cli.device import choose_device
        >>> choose_device("cpu")
        'cpu'
    """
    from torchprim.training.ranks import find_device

    try:
        return find_device(name, "argument --device:")
    except ValueError as error:
        raise UsageError(error) from error


def choose_ranks(name: str) -> Ranks:
    """Resolve the option's value to this process's device, with its rank among those of torchrun.

    Raises:
        UsageError: as `choose_device`, and for variables of torchrun that are not whole numbers.
    """
    from torchprim.training.ranks import find_ranks

    try:
        return find_ranks(choose_device(name))
    except ValueError as error:
        raise UsageError(error) from error
