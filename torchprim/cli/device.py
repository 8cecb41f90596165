"""The `--device` option: which device, and one line where it is not there."""

from __future__ import annotations

from torchprim.cli import UsageError

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> str:
    """`cuda` where it is there and wanted, else `cpu`.

    Raises:
        UsageError: where `cuda` is asked for and torch finds no such device.

    Example:
        >>> from torchprim.cli.device import choose_device
        >>> choose_device("cpu")
        'cpu'
    """
    import torch

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("argument --device: cuda was asked for, but torch finds no CUDA device here")
    return "cuda" if name == "cuda" or (name == "auto" and available) else "cpu"
