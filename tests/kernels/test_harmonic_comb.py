"""The comb and its gradients: reference against finite differences, kernel against reference."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.voicing import harmonic_comb as op

SIZES = [(1, 1, 1), (2, 33, 7), (1, 130, 129), (3, 65, 200)]  # items, bins, frames


def track(items, frames, device=DEVICE):
    f0 = awkward(items, frames, seed=1, low=80.0, high=1000.0, device=device)
    return f0, awkward(items, frames, seed=2, device=device)


@runs_kernels
@pytest.mark.parametrize("items, bins, frames", SIZES)
def test_kernel_equals_reference(items, bins, frames, monkeypatch, poisoned):
    f0, height = track(items, frames)
    width = torch.tensor(32.0, device=DEVICE)
    gradient = awkward(items, bins, frames, seed=3, low=-1.0)
    expected = op.reference(f0, height, width, bins, 21.5, 40)
    expected_gradients = op.reference_gradients(gradient, f0, height, width, 21.5, 40)
    forbid(monkeypatch, op, "reference", "reference_gradients")
    leaves = [x.detach().clone().requires_grad_() for x in (f0, height, width)]
    with forced_kernels():
        comb = op.harmonic_comb(*leaves[:2], bins, 21.5, leaves[2])
        comb.backward(gradient)
    torch.testing.assert_close(comb, expected, atol=1e-6, rtol=1e-5)
    for leaf, wanted in zip(leaves, expected_gradients, strict=True):
        torch.testing.assert_close(leaf.grad, wanted, atol=1e-4, rtol=1e-4)


def test_gradients_in_double_precision():
    f0, height = (x.double().requires_grad_() for x in track(2, 3, "cpu"))
    width = torch.tensor(30.0, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(
        lambda f0, height, width: op.harmonic_comb(f0, height, 9, 100.0, width), (f0, height, width)
    )


def test_registration():
    f0, height = (x.clone().requires_grad_() for x in track(2, 5, "cpu"))
    width = torch.tensor(30.0, requires_grad=True)
    torch.library.opcheck(op._comb, (f0, height, width, 9, 100.0, 40))
    gradient = awkward(2, 9, 5, device="cpu")
    arguments = (gradient, f0.detach(), height.detach(), width.detach(), 100.0, 40)
    torch.library.opcheck(op._comb_backward, arguments)


def test_a_comb_has_its_teeth_on_the_harmonics():
    comb = op.harmonic_comb(torch.tensor([100.0]), torch.tensor([0.8]), 60, 10.0, 5.0, n_harmonics=3)[:, 0]
    assert comb[[10, 20, 30]].tolist() == pytest.approx([0.8] * 3)
    assert comb[[15, 25]].max() < 1e-8 and comb[40] < 1e-8  # no fourth tooth
