"""An operator of the package, also under the transforms of `torch.func`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.library import CustomOpDef
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten


class Operator(CustomOpDef):
    """`torchprim::NAME`: `vmap` and reverse-mode `torch.func` work; what does not is one clear error.

    `torch.library.custom_op` alone gives a forward-mode derivative of 0, and its gradients do not work under
    the transforms of `torch.func`: there the operator is a `torch.autograd.Function` with the same formulas.
    """

    def __init__(self, name: str, function: Callable, schema: str) -> None:
        super().__init__("torchprim", name, schema, function)
        self.register_vmap(self._each_item)
        self.register_autograd(self._no_derivative)

    def __call__(self, *arguments: Any) -> Any:
        if torch._C._are_functorch_transforms_active():
            leaves, spec = tree_flatten(arguments)
            return _function(self, spec).apply(*leaves)
        if forward_ad._current_level >= 0 and any(map(_has_tangent, tree_flatten(arguments)[0])):
            raise self._no_forward_mode()
        return super().__call__(*arguments)

    def _no_derivative(self, ctx, *gradients):
        raise RuntimeError(
            f"{self._qualname} has no derivative: gradients are of first order, and of what "
            "docs/differentiability.md lists"
        )

    def _no_forward_mode(self) -> RuntimeError:
        return RuntimeError(
            f"{self._qualname} has no forward-mode derivative (jvp, jacfwd); "
            "use reverse mode: backward, torch.func.grad, vjp or jacrev"
        )

    def _each_item(self, info, in_dims, *arguments):
        """Compute the items of `vmap` one after the other, as torch does where it knows no rule."""
        leaves, spec = tree_flatten(arguments)
        dims, _ = tree_flatten(in_dims)
        items = []
        for i in range(info.batch_size):
            item = [x if d is None else x.select(d, i) for x, d in zip(leaves, dims, strict=True)]
            items.append(tree_flatten(self._opoverload(*tree_unflatten(item, spec))))
        stacked = [torch.stack(values) for values in zip(*(values for values, _ in items), strict=True)]
        result = tree_unflatten(stacked, items[0][1])
        return result, tree_unflatten([0] * len(stacked), items[0][1])


def _has_tangent(value: object) -> bool:
    return isinstance(value, Tensor) and forward_ad.unpack_dual(value).tangent is not None


@functools.lru_cache(maxsize=256)
def _function(operator: Operator, spec: TreeSpec) -> type[torch.autograd.Function]:
    """Return the operator as a function of the leaves of its arguments, of which some are lists."""

    class Function(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*leaves):
            result = operator._opoverload(*tree_unflatten(leaves, spec))
            return tuple(result) if isinstance(result, list) else result

        @staticmethod
        def setup_context(ctx, inputs, output):
            if operator._setup_context_fn is not None:
                operator._setup_context_fn(ctx=ctx, inputs=tuple(tree_unflatten(inputs, spec)), output=output)

        @staticmethod
        def backward(ctx, *gradients):
            needed = ctx.needs_input_grad
            try:
                ctx.needs_input_grad = tuple(tree_unflatten(needed, spec))
                results = operator._backward_fn(ctx, *gradients)
            finally:
                ctx.needs_input_grad = needed
            results = results if isinstance(results, tuple) else (results,)
            return tuple(_leaves_of(results, spec))

        @staticmethod
        def jvp(ctx, *tangents):
            raise operator._no_forward_mode()

    return Function


def _leaves_of(results: tuple, spec: TreeSpec) -> list:
    """Flatten the gradients of arguments; None for a list of them is None for each."""
    leaves = []
    for result, part in zip(results, tree_unflatten(range(spec.num_leaves), spec), strict=True):
        if isinstance(part, (list, tuple)):
            leaves += [None] * len(part) if result is None else result
        else:
            leaves.append(result)
    return leaves
