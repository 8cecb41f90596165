"""Registration of operators with PyTorch: dispatch, fake tensors and autograd."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.library import CustomOpDef

from torchprim.kernels.dispatch import takes_kernel


def register_operator(
    name: str, reference: Callable, *, kernel: str, fake: Callable, fits: Callable | None = None
) -> CustomOpDef:
    """Register `torchprim::NAME`: the kernel where `takes_kernel` and `fits` say so, else the reference.

    Args:
        name: of the operator.
        reference: plain torch. Its annotations are the schema; no argument has a default.
        kernel: `MODULE.FUNCTION` in the package of the reference, with the same arguments; imported at its
            first call, so that no reference needs triton.
        fake: shape rule: empty tensors with the sizes, strides and dtypes of the results.
        fits: condition on sizes under which the kernel is taken; none by default.

    The parameters of `fake` and `fits` are those arguments that they read, by name.

    Returns:
        The operator, with the signature of the reference.

    Example:
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

    def dispatch(*arguments):
        if takes_kernel(arguments) and (covered is None or covered(*arguments)):
            return launcher()(*arguments)
        return reference(*arguments)

    schema = torch.library.infer_schema(reference, mutates_args=())
    operator = torch.library.custom_op(f"torchprim::{name}", dispatch, mutates_args=(), schema=schema)
    operator.register_fake(_by_name(fake, names))
    return functools.update_wrapper(operator, reference)


def register_gradient(
    forward: CustomOpDef, backward: CustomOpDef, *, to: Sequence[str], outputs: Sequence[str] = ()
) -> None:
    """Register an operator as the gradient of another.

    The arguments of `backward` are the gradients of the first outputs of `forward` (its other outputs have
    none); then, by name, inputs and outputs of `forward`, and `to_X`: whether the input X needs a gradient.

    Args:
        forward: operator to differentiate.
        backward: operator that returns the gradients.
        to: inputs of `forward` to which the results of `backward` belong, in their order.
        outputs: names of the outputs of `forward`, where `backward` reads one.
    """
    names, arguments = _parameters(forward), _parameters(backward)
    flags = {f"to_{name}": name for name in names}
    saved = [name for name in arguments if name in (*names, *outputs)]
    count = sum(name not in (*saved, *flags) for name in arguments)  # gradients of outputs

    def setup_context(ctx, inputs, output):
        results = output if isinstance(output, tuple) else (output,)
        ctx.mark_non_differentiable(*results[count:])
        values = dict(zip((*names, *outputs), (*inputs, *results), strict=False))
        save(ctx, [values[name] for name in saved])

    def gradient(ctx, *d_outputs):
        needed = dict(zip(names, ctx.needs_input_grad, strict=True))
        values = dict(zip(saved, load(ctx), strict=True)) | {f: needed[name] for f, name in flags.items()}
        results = backward(*d_outputs[:count], *(values[name] for name in arguments[count:]))
        gradients = dict(zip(to, results if len(to) > 1 else (results,), strict=True))
        return tuple(gradients[name] if name in gradients and needed[name] else None for name in names)

    forward.register_autograd(gradient, setup_context=setup_context)


def save(ctx, values: Sequence) -> None:
    """Save arguments of an operator for its gradient: tensors, lists of tensors, None and numbers."""
    ctx.lengths = [len(value) if isinstance(value, (list, tuple)) else None for value in values]
    flat = [x for value in values for x in (value if isinstance(value, (list, tuple)) else (value,))]
    ctx.save_for_backward(*(x if isinstance(x, Tensor) else None for x in flat))
    ctx.numbers = [None if isinstance(x, Tensor) else x for x in flat]


def load(ctx) -> list:
    """Return the values given to `save`."""
    pairs = zip(ctx.saved_tensors, ctx.numbers, strict=True)
    flat = (number if tensor is None else tensor for tensor, number in pairs)
    return [next(flat) if n is None else [next(flat) for _ in range(n)] for n in ctx.lengths]


def _parameters(function: Callable) -> list[str]:
    return list(inspect.signature(function).parameters)


def _by_name(rule: Callable, names: Sequence[str]) -> Callable:
    """Wrap a rule that names some of an operator's arguments as a function of all of them in order."""
    index = [names.index(name) for name in _parameters(rule)]
    return lambda *arguments: rule(*(arguments[i] for i in index))
