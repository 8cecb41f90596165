"""Two saliences mixed: equation, gradients, kernel against reference."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.salience import salience_mix as op

SIZES = [(1, 1, 1), (2, 19, 67), (1, 33, 3), (1, 5, 130)]  # items, pitches, frames


def saliences(items, pitches, frames, device=DEVICE):
    total = awkward(items, pitches, frames, seed=1, device=device)
    combs = awkward(items, pitches, frames, seed=2, low=-0.5, device=device)
    return total, total.mean(-1), combs


def autograd(total, median, combs):
    """Compute the equation, to be differentiated by autograd."""
    one = (total - 0.3 * median[..., None]).clamp(min=0)
    two = op.mean_over_frames(combs.clamp(min=0), 2)
    result = 0
    for value, weight in ((one, 1.6), (two, 1.2)):
        level = value.amax(-2, keepdim=True).mean(-1, keepdim=True)
        result = result + weight * (value / torch.where(level > 0, level, 1.0) + 0.03).log()
    return result


@runs_kernels
@pytest.mark.parametrize("values", ["random", "silent", "ties"])
@pytest.mark.parametrize("items, pitches, frames", SIZES)
def test_kernel_equals_reference(items, pitches, frames, values, monkeypatch, poisoned):
    inputs = saliences(items, pitches, frames)
    if values == "silent":
        inputs = tuple(torch.zeros_like(x) for x in inputs)
    if values == "ties":
        inputs = (torch.ones_like(inputs[0]), inputs[1], torch.ones_like(inputs[2]))
    gradient = awkward(items, pitches, frames, seed=3, low=-1.0)
    doubles = [x.double().requires_grad_() for x in inputs]
    expected = autograd(*doubles)
    expected_gradients = torch.autograd.grad(expected, doubles, gradient.double())
    forbid(monkeypatch, op, "reference", "reference_gradients")
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    with forced_kernels():
        mixed = op.salience_mix(*leaves, 1.6, 1.2)
        mixed.backward(gradient)
    torch.testing.assert_close(mixed.double(), expected, atol=1e-5, rtol=1e-5)
    for leaf, wanted in zip(leaves, expected_gradients, strict=True):
        torch.testing.assert_close(leaf.grad.double(), wanted, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("values", ["random", "silent", "ties"])
def test_reference_gradients_are_those_of_the_equation(values):
    inputs = saliences(2, 7, 9, "cpu")
    if values == "silent":
        inputs = tuple(torch.zeros_like(x) for x in inputs)
    if values == "ties":
        inputs = (inputs[0].round(), inputs[1], inputs[2].round())
    doubles = [x.double().requires_grad_() for x in inputs]
    gradient = awkward(2, 7, 9, seed=5, low=-1.0, device="cpu").double()
    expected = torch.autograd.grad(autograd(*doubles), doubles, gradient)
    got = torch.autograd.grad(op.salience_mix(*doubles, 1.6, 1.2), doubles, gradient)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_in_double_precision_and_registration():
    inputs = [x.double().clone().requires_grad_() for x in saliences(2, 3, 4, "cpu")]
    torch.autograd.gradcheck(op.salience_mix, inputs)
    torch.library.opcheck(op._mix, (*inputs, 1.6, 1.2))
    detached = [x.detach() for x in inputs]
    torch.library.opcheck(op._mix_backward, (detached[0].clone(), *detached, 1.6, 1.2))


def test_compiles_and_checks():
    inputs = saliences(2, 3, 4, "cpu")
    compiled = torch.compile(op.salience_mix, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs), op.salience_mix(*inputs))
    with pytest.raises(ValueError, match="total, median and combs must have shapes"):
        op.salience_mix(inputs[0], inputs[1], inputs[2][:, :2])
