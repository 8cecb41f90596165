"""Sums for the voicing score: kernel, reference, automatic differentiation."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.voicing import voicing_sums as op

SIZES = [(1, 1, 1), (2, 37, 35), (1, 19, 130)]  # items, bins, frames
CASES = [(True, True), (True, False), (False, True)]  # weighted; teeth named by a path


def inputs(items, bins, frames, weighted, named, device=DEVICE):
    magnitude, weight = (awkward(items, bins, frames, seed=s, device=device) for s in range(2))
    columns = (bins, 11) if named else (items, bins, frames)
    comb = awkward(*columns, seed=2, device=device)
    teeth = awkward(*columns, seed=4, low=-1.0, device=device)
    teeth = torch.where(teeth.abs() < 0.2, 0.0, teeth)
    path = (awkward(items, frames, seed=5, device=device) * 11).long() if named else None
    rows = [awkward(bins, seed=s, device=device) for s in (6, 7)]
    scale = awkward(items, seed=9, low=0.5, high=2.0, device=device)
    return magnitude, weight if weighted else None, comb, teeth, path, *rows, scale


def autograd(magnitude, weight, comb, teeth, path, loudness, gain, scale):
    """Compute the five sums by operations that autograd differentiates."""
    if path is not None:
        comb, teeth = comb[:, path].movedim(0, -2), teeth[:, path].movedim(0, -2)
    magnitude = magnitude * scale[:, None, None]
    heard = magnitude * loudness[:, None]
    power = (magnitude * gain[:, None]).square()
    under = comb * power
    sung = under if weight is None else under * weight
    parts = (-teeth.clamp(max=0) * heard, under, teeth.clamp(min=0) * heard, power, sung)
    return torch.stack([part.sum(-2) for part in parts], -2)


def leaves(given, named, dtype):
    """Return copies that receive gradients, and all arguments with them."""
    made = [x if x is None or not x.is_floating_point() else x.detach().to(dtype) for x in given]
    chosen = [i for i in (0, 1, 2, 3, 7) if made[i] is not None and not (named and i == 3)]
    for i in chosen:
        made[i] = made[i].requires_grad_()
    return [made[i] for i in chosen], made


@runs_kernels
@pytest.mark.parametrize("weighted, named", CASES)
@pytest.mark.parametrize("items, bins, frames", SIZES)
def test_kernel_equals_reference(items, bins, frames, weighted, named, monkeypatch, poisoned):
    given = inputs(items, bins, frames, weighted, named)
    gradient = awkward(items, op.SUMS, frames, seed=8, low=-1.0)
    wanted, arguments = leaves(given, named, torch.float64)
    expected = autograd(*arguments)
    expected_gradients = torch.autograd.grad(expected, wanted, gradient.double())
    forbid(monkeypatch, op, "reference", "reference_gradients")
    wanted, arguments = leaves(given, named, torch.float32)
    with forced_kernels():
        sums = op.voicing_sums(*arguments)
        gradients = torch.autograd.grad(sums, wanted, gradient)
    torch.testing.assert_close(sums.double(), expected, atol=1e-5, rtol=1e-5)
    for value, plain in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(value.double(), plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("weighted, named", CASES)
def test_reference_gradients_and_registration(weighted, named):
    given = inputs(2, 5, 3, weighted, named, "cpu")
    wanted, arguments = leaves(given, named, torch.float64)
    gradient = awkward(2, op.SUMS, 3, seed=8, low=-1.0, device="cpu").double()
    expected = torch.autograd.grad(autograd(*arguments), wanted, gradient)
    for value, plain in zip(
        torch.autograd.grad(op.voicing_sums(*arguments), wanted, gradient), expected, strict=True
    ):
        torch.testing.assert_close(value, plain)
    torch.library.opcheck(op._sums, arguments)
    _, plain = leaves(given, named, torch.float64)
    plain = [x if x is None else x.detach() for x in plain]
    for flags in ((True, True), (False, False)):
        torch.library.opcheck(op._sums_backward, (gradient, *plain, *flags))


def test_gradients_in_double_precision():
    wanted, arguments = leaves(inputs(1, 4, 3, True, False, "cpu"), False, torch.float64)
    arguments[3] = wanted[3] = (arguments[3].detach() + 0.01).requires_grad_()  # no kink at 0
    torch.autograd.gradcheck(lambda *x: op.voicing_sums(*x[:4], *arguments[4:7], x[4]), wanted)


@runs_kernels
def test_kernel_without_items_and_without_a_scale():
    magnitude, weight, comb, teeth, path, *rows, _ = inputs(2, 5, 3, True, True)
    expected = autograd(magnitude, weight, comb, teeth, path, *rows, torch.ones(2, device=DEVICE))
    with forced_kernels():
        sums = op.voicing_sums(magnitude, weight, comb, teeth, path, *rows)
        empty = op.voicing_sums(magnitude[:0], weight[:0], comb, teeth, path[:0], *rows)
    torch.testing.assert_close(sums, expected)
    assert empty.shape == (0, op.SUMS, 3)


def test_compiles_and_checks():
    arguments = inputs(2, 5, 3, True, True, "cpu")
    compiled = torch.compile(op.voicing_sums, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arguments), op.voicing_sums(*arguments))
    with pytest.raises(ValueError, match=r"do not fit \(2, 5, 3\)"):
        op.voicing_sums(*arguments[:4], None, *arguments[5:])
    teeth = arguments[3].clone().requires_grad_()
    with pytest.raises(ValueError, match="teeth receive no gradient beside a path"):
        op.voicing_sums(*arguments[:3], teeth, *arguments[4:])
