"""Base of the primitives' modules: the settings of a function as attributes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn


class Primitive(nn.Module):
    """Hold the settings of a function as attributes of a module.

    A subclass names the function, repeats its settings as arguments of `__init__` (all but the inputs of
    `forward`), and hands them over. A subclass whose settings differ from the function's in name, order or
    default cannot be defined:

        class HPSS(Primitive, function=hpss):
            def __init__(self, kernel_size: int = 31, power: float | Tensor = 2.0) -> None:
                super().__init__(locals())

            def forward(self, magnitude: Tensor) -> Tensor:
                return hpss(magnitude, **self.settings)

    A setting that is an `nn.Parameter` is registered as a parameter and reaches an optimiser by
    `parameters()`; any other tensor is registered as a buffer. Both follow `.to(device)` and are in the
    `state_dict`. Settings can be assigned at any time: `hpss.power = nn.Parameter(torch.tensor(2.0))`.

    Args:
        settings: by name; `self` among them is left out, so that `locals()` can be given.

    Raises:
        TypeError: at the definition of a subclass whose settings are not those of its function.

    Example:
        >>> import torch, torchprim as tp
        >>> hpss = tp.HPSS(kernel_size=17, power=torch.nn.Parameter(torch.tensor(2.0)))
        >>> [name for name, _ in hpss.named_parameters()], hpss.kernel_size
        (['power'], 17)
    """

    _names: tuple[str, ...] = ()

    def __init_subclass__(cls, function: Callable | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        if function is None:  # a subclass of a subclass
            return
        inputs = inspect.signature(cls.forward).parameters
        wanted = [p for name, p in inspect.signature(function).parameters.items() if name not in inputs]
        given = [p for name, p in inspect.signature(cls.__init__).parameters.items() if name != "self"]
        if given != wanted:
            raise TypeError(f"{cls.__name__} must have the settings of {function.__name__}, {wanted}")
        cls._names = tuple(p.name for p in wanted)

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        for name in self._names:
            setattr(self, name, settings[name])

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._names:
            for registry in (self.__dict__, self._parameters, self._buffers):
                registry.pop(name, None)
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                self.register_buffer(name, value)
                return
        super().__setattr__(name, value)

    if TYPE_CHECKING:  # settings are not declared one by one

        def __getattr__(self, name: str) -> Any: ...

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by name."""
        return {name: getattr(self, name) for name in self._names}

    @property
    def cache_key(self) -> tuple:
        """Cache key of a result for one input: type and settings, tensors by identity."""
        return type(self).__name__, *self.settings.items()

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={_short(value)}" for name, value in self.settings.items())


def _short(value: Any) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    number = f"{value.item():.4g}" if value.numel() == 1 else f"of shape {tuple(value.shape)}"
    return f"{type(value).__name__}({number})"
