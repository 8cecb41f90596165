"""Base of the primitives' modules: the settings of a function as attributes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn


class Primitive(nn.Module):
    """Base of a module that holds the settings of a function as attributes.

    A subclass names its function in the class statement and repeats the function's parameters, except the
    inputs of `forward`, as those of `__init__`. The two signatures are compared when the class is defined:

        class HPSS(Primitive, function=hpss):
            def __init__(self, kernel_size: int = 31, power: float | Tensor = 2.0) -> None:
                super().__init__(locals())

            def forward(self, magnitude: Tensor) -> Tensor:
                return hpss(magnitude, **self.settings)

    A setting that is an `nn.Parameter` is registered as a parameter, so that an optimiser finds it in
    `parameters()`; any other tensor is registered as a buffer. Both follow `.to(device)` and are in the
    `state_dict`. A setting can be replaced at any time, by a value of another type, too:
    `hpss.power = nn.Parameter(torch.tensor(2.0))`.

    Args:
        settings: name -> value; other names are ignored, so that `locals()` of `__init__` will do.

    Raises:
        TypeError: at the definition of a subclass, for settings that differ from the function's parameters
            in name, order, default or annotation.

    Example:
        >>> import torch, torchprim as tp
        >>> hpss = tp.HPSS(kernel_size=17, power=torch.nn.Parameter(torch.tensor(2.0)))
        >>> [name for name, _ in hpss.named_parameters()], hpss.kernel_size
        (['power'], 17)
    """

    _setting_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, function: Callable[..., Any] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if function is None:  # inherits the settings of its base class
            return
        inputs = inspect.signature(cls.forward).parameters
        expected = [p for name, p in inspect.signature(function).parameters.items() if name not in inputs]
        actual = [p for name, p in inspect.signature(cls.__init__).parameters.items() if name != "self"]
        if actual != expected:
            raise TypeError(
                f"{cls.__name__} must have the settings of {function.__name__}, "
                f"{inspect.Signature(expected)}, got {inspect.Signature(actual)}"
            )
        cls._setting_names = tuple(p.name for p in expected)

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        for name in self._setting_names:
            setattr(self, name, settings[name])

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._setting_names:
            # nn.Module refuses to replace a parameter by a number, and a number by a buffer.
            for registry in (self.__dict__, self._parameters, self._buffers, self._modules):
                registry.pop(name, None)
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                self.register_buffer(name, value)
                return
        super().__setattr__(name, value)

    if TYPE_CHECKING:  # settings are not declared one by one

        def __getattr__(self, name: str) -> Any: ...

    @property
    def settings(self) -> dict[str, Any]:
        """Settings by name, in the function's order."""
        return {name: getattr(self, name) for name in self._setting_names}

    @property
    def cache_key(self) -> tuple[Any, ...]:
        """Cache key of the result for one input: class and settings, tensors by identity."""
        return type(self), *((k, tuple(v) if isinstance(v, list) else v) for k, v in self.settings.items())

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={_format(value)}" for name, value in self.settings.items())


def _format(value: Any) -> str:
    """Format a setting: a tensor of one number by that number, a larger one by its shape."""
    if not isinstance(value, Tensor):
        return repr(value)
    content = (
        f"{value.item():.4g}"
        if value.numel() == 1 and not value.is_meta
        else f"of shape {tuple(value.shape)}"
    )
    return f"{type(value).__name__}({content})"
