"""A device that is not there: fake tensors on it, and operators that run by their own host code.

PyTorch's autograd cannot run on fake CUDA tensors without a GPU. With gradients the device is therefore a
fake CPU, on which operators take their kernels, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from torchprim.kernels.register import IMPLEMENTATIONS

_MOST_KNOWN = 4096  # elements of a table
_PINNING = (torch.ops.aten.pin_memory, torch.ops.aten._pin_memory)  # needs a driver
_SAME_VALUES = (torch.ops.aten._to_copy, torch.ops.aten.clone, torch.ops.aten.full)


class _HostGenerator(torch.Generator):
    """Generator of the host, whatever the device."""

    def __new__(cls, device: str = "cpu"):
        return super().__new__(cls)


def _is_composite(func: Any) -> bool:
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key)


def _remember(func: Any, args: tuple, kwargs: dict, result: Any) -> None:
    """Keep the values of a small fake tensor that was made on the host: loops may depend on them."""
    first = args[0]
    if isinstance(first, FakeTensor):
        first = getattr(first, "known", None)
    if first is None or not isinstance(result, FakeTensor) or result.numel() > _MOST_KNOWN:
        return
    options = {key: x for key, x in kwargs.items() if key not in ("device", "pin_memory")}
    with unset_fake_temporarily():
        result.known = func(first, *args[1:], **options)


class FakeDevice(TorchDispatchMode):
    """Fake what is computed on the device; compute for real what the host computes.

    Subclasses override `note`. Inside `launches.recorded` operators run by the host code of their kernels,
    whose operations are noted one by one.

    Args:
        device: `cuda`; or `cpu`, where all tensors are fake, those of the host as well.
    """

    def __init__(self, device: str = "cuda") -> None:
        super().__init__()
        self.device = torch.device(device)
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self._generator = mock.patch.object(torch, "Generator", _HostGenerator)
        self._depth = 0

    def note(self, func: Any, tensors: Sequence[Tensor], result: Any, args: tuple) -> None:
        """Take note of an operation on the device."""

    def note_operator(self, name: str) -> None:
        """Take note of a call of an operator of the project, before what it does inside."""

    def note_host(self, func: Any) -> None:
        """Take note of an operation on the host."""

    def __enter__(self):
        self._depth += 1
        if self._depth == 1:
            self._generator.start()
        self.fake.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.fake.__exit__(*error)
        self._depth -= 1
        if not self._depth:
            self._generator.stop()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        there = self.device.type == "cpu" or any(isinstance(x, FakeTensor) for x in tensors)
        place = kwargs.get("device")
        if not there and (place is None or torch.device(place).type == "cpu"):
            self.note_host(func)
            if func.overloadpacket in _PINNING:
                return args[0]
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        name = func._schema.name.partition("::")[2]
        if func.namespace == "torchprim" and name in IMPLEMENTATIONS:
            self.note_operator(name)
            with self:
                return IMPLEMENTATIONS[name](*args, **kwargs)
        if func.namespace == "aten" and _is_composite(func):  # below autograd nothing has taken it apart
            with self:
                return func.decompose(*args, **kwargs)
        if self.device.type != "cpu" and kwargs.get("generator") is not None:
            kwargs["generator"] = None  # of the host: there is none of this device
        if func is torch.ops.aten._local_scalar_dense.default and self.device.type == "cpu":
            return True if args[0].dtype == torch.bool else 1  # a check that only the host makes
        result = func(*args, **kwargs)
        if func.is_view or func.overloadpacket in _SAME_VALUES:
            _remember(func, args, kwargs, result)
        self.note(func, tensors, result, args)
        return result
