"""Registration of operators with PyTorch: dispatch, fake tensors and autograd."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from torchprim.kernels.autocast import outside_autocast
from torchprim.kernels.dispatch import takes_kernel
from torchprim.kernels.layout import laid_out
from torchprim.kernels.operator import Operator

# Name of an operator -> its kernel or reference, for tools that trace what it does inside.
IMPLEMENTATIONS: dict[str, Callable] = {}


def register_operator(
    name: str, reference: Callable, *, kernel: str, fake: Callable, fits: Callable | None = None
) -> Operator:
    """Register `torchprim::NAME`: the kernel where `takes_kernel` and `fits` hold, else the reference.

    Args:
        name: of the operator.
        reference: plain torch. Its annotations are the schema; no argument has a default.
        kernel: `MODULE.FUNCTION` in the package of the reference, with the same arguments; imported at its
            first call, so that no reference needs triton.
        fake: shape rule: empty tensors with the sizes, strides and dtypes of the results. The results of the
            reference are laid out by it.
        fits: condition on sizes under which the kernel is taken; none by default.

    The parameters of `fake` and `fits` are those arguments that they read, by name.

    Returns:
        The operator, with the signature of the reference.

    Example:
        >>> import torch
        >>> from torch import Tensor
        >>> from torchprim.kernels.register import register_operator
        >>> def scale(x: Tensor, factor: float) -> Tensor:
        ...     return x * factor
        >>> operator = register_operator(
        ...     "doctest_scale", scale, kernel="scale_triton.forward", fake=lambda x: x.new_empty(x.shape)
        ... )
        >>> operator(torch.ones(2), 3.0)  # on a CPU: the reference
        tensor([3., 3.])
    """
    names = _parameters(reference)
    covered = fits and _by_name(fits, names)
    package = reference.__module__.rpartition(".")[0]

    @functools.cache
    def launcher() -> Callable:
        module, _, function = kernel.rpartition(".")
        return getattr(importlib.import_module(f"{package}.{module}"), function)

    empty = _by_name(fake, names)

    @outside_autocast
    def dispatch(*arguments):
        if _is_empty(arguments):  # a batch of none, which some libraries refuse
            nothing = empty(*arguments)
            if not any(x.numel() for x in tree_leaves(nothing)):
                return nothing
        if takes_kernel(arguments) and (covered is None or covered(*arguments)):
            return launcher()(*arguments)
        return laid_out(reference(*arguments), functools.partial(empty, *arguments))

    operator = Operator(name, dispatch, torch.library.infer_schema(reference, mutates_args=()))
    operator.register_fake(empty)
    # Straight to `dispatch`, not through custom_op's wrapper, whose first call imports the compiler: 140 MB
    # and a second and a half of every command on a CPU.
    torch.library.impl(f"torchprim::{name}", "cpu", dispatch)
    IMPLEMENTATIONS[name] = dispatch
    return functools.update_wrapper(operator, reference)


def register_gradient(
    forward: Operator, backward: Operator, *, to: Sequence[str], outputs: Sequence[str] = ()
) -> None:
    """Register an operator as the gradient of another.

    The arguments of `backward` are the gradients of the first outputs of `forward` (its other outputs have
    none); then, by name, inputs and outputs of `forward`; last `to_X`: whether input X needs a gradient.

    Args:
        forward: operator to differentiate.
        backward: operator that returns the gradients.
        to: inputs of `forward` to which the results of `backward` belong, in their order.
        outputs: names of the outputs of `forward`, where `backward` reads one.

    Raises:
        ValueError: for arguments of `backward` in another order.
    """
    names, arguments = _parameters(forward), _parameters(backward)
    readable, flags = [*names, *outputs], [f"to_{name}" for name in names]
    saved = [name for name in arguments if name in readable]
    needed = [name for name in arguments if name in flags]
    count = len(arguments) - len(saved) - len(needed)  # gradients of outputs
    if arguments[count:] != saved + needed:
        raise ValueError(
            f"arguments must be gradients, then some of {readable}, then {flags}, got {arguments}"
        )
    saved, needed = [readable.index(name) for name in saved], [flags.index(name) for name in needed]
    order = [to.index(name) if name in to else None for name in names]

    def setup_context(ctx, inputs, output):
        results = output if isinstance(output, tuple) else (output,)
        if len(results) > count:
            ctx.mark_non_differentiable(*results[count:])
        values = (*inputs, *results)
        save(ctx, [values[i] for i in saved])

    def gradient(ctx, *d_outputs):
        needs = ctx.needs_input_grad
        results = backward(*d_outputs[:count], *load(ctx), *[needs[i] for i in needed])
        results = results if len(to) > 1 else (results,)
        pairs = zip(order, needs, strict=True)
        return tuple([results[i] if need and i is not None else None for i, need in pairs])

    forward.register_autograd(gradient, setup_context=setup_context)


def save(ctx, values: Sequence) -> None:
    """Save arguments of an operator for its gradient: tensors, lists of tensors or of numbers, others."""
    tensors, ctx.others = [], []
    for i, value in enumerate(values):
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, (list, tuple)) and any(isinstance(x, Tensor) for x in value):
            tensors += value
            ctx.others.append((i, slice(i, i + len(value))))
        else:
            ctx.others.append((i, value))
    ctx.save_for_backward(*tensors)


def load(ctx) -> list:
    """Return the values given to `save`."""
    values = list(ctx.saved_tensors)
    for i, other in ctx.others:
        if isinstance(other, slice):
            values[other] = [values[other]]
        else:
            values.insert(i, other)
    return values


def _is_empty(arguments: Sequence) -> bool:
    """Return whether the first tensor has no entries."""
    for argument in arguments:
        first = argument[0] if isinstance(argument, (list, tuple)) and argument else argument
        if isinstance(first, Tensor):
            return first.numel() == 0
    return False


def _parameters(function: Callable) -> list[str]:
    return list(inspect.signature(function).parameters)


def _by_name(rule: Callable, names: Sequence[str]) -> Callable:
    """Wrap a rule that names some of an operator's arguments as a function of all of them in order."""
    index = [names.index(name) for name in _parameters(rule)]
    return lambda *arguments: rule(*(arguments[i] for i in index))
