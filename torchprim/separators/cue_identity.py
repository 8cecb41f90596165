"""Stable identities of cues: what their masks depend on, beside the mixture."""

from __future__ import annotations

import dataclasses
import dis
import functools
import hashlib
import os
import sys
import sysconfig
import types
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchprim.ensemble.cues import Cues, FunctionCue
from torchprim.separators.digest import tensor_digest

_PLAIN = (
    *(type(None), bool, int, float, complex, str, bytes, range, slice, types.EllipsisType),
    *(torch.dtype, torch.device),
)
# Of every module of torch: tensors and modules inside are read apart, hooks and the mode not at all.
_MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))
_BY_NAME = frozenset({"torch", "torchprim", "builtins"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_PYTHON = sysconfig.get_path("stdlib")


class _Unstable(Exception):
    """What has no stable identity, in words."""


def cues_digest(cues: Cues) -> str:
    """Compute a digest of all that the masks of cues depend on: 12 hex digits of SHA-256.

    Raises:
        ValueError: for a cue without a stable identity; it is named.
    """
    parts = [(name, cue_identity(name, cue)) for name, cue in cues.items()]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def cue_identity(name: str, cue: Callable[..., Any]) -> str:
    """Describe all that the mask of a cue depends on, in the same words in another process.

    Of a function: its qualified name, code and defaults, what it closes over and the globals that it reads,
    with functions, classes and modules of the same package or not installed; of others names alone. Of a
    module of torch: class and code, attributes, parameters and buffers. Of a tensor: its values. A cue with a
    string `identity` says it itself. What a cue reads elsewhere, such as a file, is not seen.

    Args:
        name: of the cue, for the error.
        cue: a function, a module, or another object that is called.

    Raises:
        ValueError: where it holds something that has no such description, such as a generator.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.separators.cue_identity import cue_identity
        >>> cue_identity("hpss", tp.HPSS(9)) == cue_identity("hpss", tp.HPSS(9))
        True
        >>> from functools import partial
        >>> cue_identity("noise", partial(torch.rand_like, generator=torch.Generator()))
        Traceback (most recent call last):
        ValueError: cue 'noise' has no stable identity: it holds a Generator. Make it a setting, a number or
        a tensor, or give the cue a string `identity`
    """
    modules = cue.modules() if isinstance(cue, nn.Module) else [cue]
    packages = {_package(module) for module in modules}
    try:
        return _Description(packages - _BY_NAME).of(cue, "it holds")
    except _Unstable as error:
        raise ValueError(
            f"cue {name!r} has no stable identity: {error}. Make it a setting, a number or a tensor, or give "
            "the cue a string `identity`"
        ) from None


def _package(cue: Any) -> str:
    """Return the name of the package that the code of a cue is in."""
    if isinstance(cue, FunctionCue):
        return _package(cue.function)
    if isinstance(cue, functools.partial):
        return _package(cue.func)
    code = cue if isinstance(cue, (types.FunctionType, types.MethodType)) else type(cue)
    return (code.__module__ or "").partition(".")[0]


class _Description:
    """Descriptions of values, with the code that is in some packages."""

    def __init__(self, packages: set[str]) -> None:
        self.packages = packages
        # Functions, classes and modules may refer to one another; held, so that no other gets its id.
        self.seen: dict[int, tuple[int, Any]] = {}

    def of(self, value: Any, where: str) -> str:
        """Describe a value; `where` names it in an error."""
        own = None if isinstance(value, (type, types.ModuleType)) else getattr(value, "identity", None)
        if isinstance(own, str):
            return f"identity {own!r}"
        if isinstance(value, (*_PLAIN, Enum)):
            return f"{type(value).__name__} {value!r}"
        if isinstance(value, Tensor):
            return f"{type(value).__name__} {tensor_digest(value)}"
        if isinstance(value, (tuple, list)):
            return f"{type(value).__name__}({', '.join(self.of(item, where) for item in value)})"
        if isinstance(value, (set, frozenset)):
            return f"set({sorted(self.of(item, where) for item in value)})"
        if isinstance(value, Mapping):
            return f"{{{', '.join(f'{self.of(k, where)}: {self.of(v, where)}' for k, v in value.items())}}}"
        if isinstance(value, types.ModuleType):
            return f"module {value.__name__} {self._source(value)}"
        if isinstance(value, types.CodeType):
            digest = hashlib.sha256(value.co_code).hexdigest()[:16]
            return f"code({digest}, {self.of((value.co_consts, value.co_names), where)})"
        if isinstance(value, types.BuiltinFunctionType):
            return f"function {value.__qualname__}"
        if id(value) in self.seen:
            return f"above {self.seen[id(value)][0]}"
        self.seen[id(value)] = len(self.seen), value
        return self._object(value, where)

    def _object(self, value: Any, where: str) -> str:
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, nn.Module):
            return self._module(value)
        if isinstance(value, functools.partial):
            return f"partial {self.of((value.func, value.args, dict(value.keywords)), where)}"
        if isinstance(value, types.MethodType):
            return f"method {self.of((value.__func__, value.__self__), where)}"
        if dataclasses.is_dataclass(value) or (callable(value) and hasattr(value, "__dict__")):
            fields = getattr(value, "__dataclass_fields__", None) or vars(value)
            state = {field: getattr(value, field) for field in fields}
            return self.of((type(value), state), f"an attribute of {type(value).__name__} is")
        raise _Unstable(f"{where} a {type(value).__name__}")

    def _function(self, function: types.FunctionType) -> str:
        name, title = f"{function.__module__}.{function.__qualname__}", function.__qualname__
        if not self._is_own(function):
            return f"function {name}"
        defaults = function.__defaults__, function.__kwdefaults__
        parts = [self.of(function.__code__, title), self.of(defaults, f"a default of {title} is")]
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        read = {variable: cell.cell_contents for variable, cell in cells}
        for variable in sorted(_globals(function.__code__) & function.__globals__.keys()):
            read[variable] = function.__globals__[variable]
        parts += [f"{k} = {self.of(v, f'{k!r}, which {title} reads, is')}" for k, v in read.items()]
        return f"function {name}({'; '.join(parts)})"

    def _class(self, cls: type) -> str:
        name = f"{cls.__module__}.{cls.__qualname__}"
        if not self._is_own(cls):
            return f"class {name}"
        members = {
            key: getattr(value, "fget", None) or getattr(value, "__func__", value)
            for key, value in sorted(vars(cls).items())
            if _is_member(key, value)
        }
        return f"class {name}({self.of((cls.__bases__, members), f'a member of {cls.__qualname__} is')})"

    def _module(self, module: nn.Module) -> str:
        title = type(module).__name__
        settings = {k: v for k, v in sorted(vars(module).items()) if k not in _MODULE_ATTRIBUTES}
        parts = [self.of(type(module), title)]
        parts += [f"{k} = {self.of(v, f'the attribute {k!r} of {title} is')}" for k, v in settings.items()]
        inside = {**module._parameters, **module._buffers, **module._modules}
        parts += [f"{k} = {self.of(v, title)}" for k, v in sorted(inside.items())]
        return f"module({'; '.join(parts)})"

    def _is_own(self, value: Any) -> bool:
        """Return whether code may change like the cue's: that of its package, and what is not installed."""
        module = value.__module__ or ""
        return module.partition(".")[0] in self.packages or _is_local(module)

    def _source(self, module: types.ModuleType) -> str:
        """Return a digest of the file of a module that is the cue's own, or nothing."""
        file = getattr(module, "__file__", None)
        own = module.__name__.partition(".")[0] in self.packages or _is_local(module.__name__)
        if not own or file is None or not os.path.isfile(file):
            return ""
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]


def _is_local(module: str) -> bool:
    """Return whether a module lies outside of the folders of Python and of installed packages."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or module.partition(".")[0] in _BY_NAME:
        return False
    path = Path(file).absolute()
    return _INSTALLED.isdisjoint(path.parts) and not path.is_relative_to(_PYTHON)


def _globals(code: types.CodeType) -> set[str]:
    """Return the names of globals that code reads, with functions inside."""
    own = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return own.union(*(_globals(c) for c in code.co_consts if isinstance(c, types.CodeType)))


def _is_member(name: str, value: Any) -> bool:
    """Return whether a member of a class is a method, a property or a constant of its own."""
    kinds = (types.FunctionType, property, staticmethod, classmethod, tuple, *_PLAIN)
    return isinstance(value, kinds) and name not in ("__module__", "__doc__", "__firstlineno__")
