"""A mask shifted by position: kernel against reference, gradients, what stays exactly."""

import pytest
import torch

from tests.kernels.test_position_histograms import CASES, scene
from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.spatial import position_histograms
from torchprim.kernels.spatial import shifted_mask as op
from torchprim.kernels.spatial.side_to_mid import POINTS


def inputs(shape, edges, device=DEVICE):
    """Draw mask, position and gains; some are 0, some saturate."""
    position, _, mask = scene(*shape, device=device)
    gains = awkward(*shape[:-2], len(edges) - 1, POINTS, seed=5, low=-3.0, high=3.0, device=device)
    return mask, position, torch.where(gains.abs() < 1, 0, gains.sign() * gains.abs().pow(3))


@runs_kernels
@pytest.mark.parametrize(("shape", "edges"), CASES)
def test_kernel_equals_reference(shape, edges, monkeypatch, poisoned):
    mask, position, gains = inputs(shape, edges)
    expected = op.reference(mask, position, gains, edges)
    gradient = awkward(*shape, seed=6, low=-1.0)
    wanted = op.reference_gradients(gradient, mask, position, gains, edges)
    forbid(monkeypatch, op, "reference", "reference_gradients")
    forbid(monkeypatch, position_histograms, "reference")
    leaves = [x.detach().requires_grad_() for x in (mask, gains)]
    with forced_kernels():
        result = op.shifted_mask(leaves[0], position, leaves[1], edges)
        result.backward(gradient)
    torch.testing.assert_close(result, expected)
    for leaf, gradient in zip(leaves, wanted, strict=True):
        torch.testing.assert_close(leaf.grad, gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kernel", [False, pytest.param(True, marks=runs_kernels)])
def test_what_stays_exactly(kernel):
    mask = torch.rand(3, 1000, device=DEVICE)
    mask[0, :2] = torch.tensor([0.0, 1.0])
    position = torch.full_like(mask, 2.0)
    gains = torch.zeros(3, POINTS, device=DEVICE)
    gains[0], gains[1] = 80.0, -80.0  # the largest
    edges = [0, 1, 2, 3]
    if kernel:
        with forced_kernels():
            result = op.shifted_mask(mask, position, gains, edges)
    else:
        result = op.shifted_mask(mask, position, gains, edges)
    assert torch.equal(result[2], mask[2])
    assert result[0, :2].tolist() == [0.0, 1.0] and (result[0, 2:] == 1).all()
    assert (result[1] < 1e-30).all()
    logit = torch.logit(torch.tensor(0.3)) + torch.tensor(1.5)
    one = op.reference(torch.full((1, 1), 0.3), torch.zeros(1, 1), torch.full((1, POINTS), 1.5), [0, 1])
    torch.testing.assert_close(one.squeeze(), logit.sigmoid())


def test_gradients_in_double_precision():
    mask, position, gains = (x.double() for x in inputs((2, 5, 6), [0, 2, 5], device="cpu"))
    leaves = mask.requires_grad_(), (gains / 9).requires_grad_()
    torch.autograd.gradcheck(lambda mask, gains: op.shifted_mask(mask, position, gains, [0, 2, 5]), leaves)


def test_registration():
    edges = [0, 2, 5]
    mask, position, gains = inputs((2, 5, 6), edges, device="cpu")
    leaves = mask.clone().requires_grad_(), position, gains.clone().requires_grad_()
    torch.library.opcheck(op._shift, (*leaves, edges))
    torch.library.opcheck(op._backward, (torch.rand(2, 5, 6), mask, position, gains, edges))
