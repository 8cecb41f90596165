"""Work on a second CUDA stream, beside what follows it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


class Beside(Generic[Value]):
    """Result of a computation that runs on a second stream of the device, beside what follows.

    For a computation that leaves most of the device idle, such as a Viterbi path: one step after the other,
    on 16 of 132 multiprocessors for 16 recordings. Its kernels take precedence. In a CUDA graph it becomes a
    branch of its own. On the CPU, under `torch.compile`, and where gradients are recorded, it runs at once.

    Tensors that the computation reads must live until `result` is called: their memory belongs to the stream
    of the caller, which may use it again.

    Args:
        compute: takes no arguments.
        like: a tensor on the device.

    Example:
        >>> import torch
        >>> from torchprim.ensemble.side_stream import Beside
        >>> x = torch.ones(3)
        >>> doubled = Beside(lambda: 2 * x, like=x)
        >>> doubled.result()
        tensor([2., 2., 2.])
    """

    def __init__(self, compute: Callable[[], Value], *, like: Tensor) -> None:
        self._stream: torch.cuda.Stream | None = None
        on_device = like.is_cuda and torch.cuda.is_initialized()  # it is not for fake tensors
        if not on_device or torch.compiler.is_compiling() or torch.is_grad_enabled():
            self._value = compute()
            return
        self._stream = _second_stream(like.device)
        self._stream.wait_stream(torch.cuda.current_stream(like.device))
        with torch.cuda.stream(self._stream):
            self._value = compute()

    def result(self) -> Value:
        """Return the result, for use on the current stream."""
        if self._stream is not None:
            torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)
        return self._value


@functools.cache
def _second_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device, priority=-1)
