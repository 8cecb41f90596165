"""Equation 1 with zeros in silence: kernel against reference, and gradients."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.clustering import soft_assignment as op
from torchprim.kernels.dispatch import forced_kernels

BETA = 2.5


def scene(count, *shape, device=DEVICE):
    """Draw masks with exact zeros and ones, weights with a zero, a magnitude with silence."""
    masks = [awkward(*shape, seed=i, low=-0.2, high=1.2, device=device).clamp(0, 1) for i in range(count)]
    weights = torch.arange(count, dtype=torch.float32, device=device) if count > 1 else torch.ones(1)
    magnitude = (awkward(*shape, seed=8, low=-0.3, device=device)).clamp(min=0)
    return masks, weights.to(device), magnitude


@runs_kernels
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("contiguous", [False, True])
@pytest.mark.parametrize(
    "count, shape", [(1, (1, 1, 1)), (3, (2, 37, 41)), (8, (1, 3, 347)), (2, (2, 16, 32))]
)
def test_kernel_equals_reference(count, shape, contiguous, gated, monkeypatch, poisoned):
    masks, weights, magnitude = scene(count, *shape)
    masks = [mask.contiguous() for mask in masks] if contiguous else masks
    magnitude = (magnitude.contiguous() if contiguous else magnitude) if gated else None
    beta = torch.tensor(BETA, device=DEVICE)
    gradient = awkward(*shape, seed=20, low=-1.0)
    expected = op.reference(masks, weights, beta, magnitude)
    gradients = op.reference_gradients(gradient, masks, weights, beta, magnitude, True)
    forbid(monkeypatch, op, "reference", "reference_gradients")
    leaves = [x.detach().requires_grad_() for x in (weights, beta, *masks)]
    with forced_kernels():
        mask = op.assign(leaves[2:], *leaves[:2], magnitude)
        mask.backward(gradient)
    torch.testing.assert_close(mask, expected)
    assert mask.is_contiguous() and (not gated or not mask[magnitude == 0].any())
    for leaf, wanted in zip(leaves, gradients, strict=True):
        torch.testing.assert_close(leaf.grad, wanted, atol=1e-4, rtol=1e-4)


@runs_kernels
@pytest.mark.parametrize("lies", ["bins", "frames"])
def test_views_of_an_embedding(lies, monkeypatch, poisoned):
    embedding = awkward(2, 5, 7 * 3, seed=3).reshape(2, 5, 7, 3).contiguous().requires_grad_()
    masks = list((embedding if lies == "bins" else embedding.transpose(1, 2)).unbind(-1))
    assert not masks[0].is_contiguous() and not masks[0].mT.is_contiguous()
    weights = torch.rand(3, device=DEVICE)
    expected = op.reference(masks, weights, torch.tensor(BETA, device=DEVICE), None)
    (wanted,) = torch.autograd.grad(expected.square().sum(), embedding)
    forbid(monkeypatch, op, "reference", "reference_gradients")
    with forced_kernels():
        mask = op.assign(masks, weights, BETA)
        mask.square().sum().backward()
    torch.testing.assert_close(mask, expected)
    torch.testing.assert_close(embedding.grad, wanted)


@runs_kernels
@pytest.mark.parametrize("wanted", ["weights", "masks"])
def test_only_the_gradients_asked_for(wanted, monkeypatch, poisoned):
    masks, weights, magnitude = scene(2, 1, 9, 11)
    leaves = [leaf.requires_grad_() for leaf in {"weights": [weights], "masks": masks}[wanted]]

    def gradients():
        return torch.autograd.grad(op.assign(masks, weights, BETA, magnitude).square().sum(), leaves)

    expected = gradients()
    forbid(monkeypatch, op, "reference_gradients")
    with forced_kernels():
        got = gradients()
    torch.testing.assert_close(got, expected)


@runs_kernels
def test_half_precision_and_no_items(poisoned):
    masks, weights, _ = scene(2, 1, 5, 6)
    half = [mask.half() for mask in masks]
    beta = torch.tensor(BETA, device=DEVICE)
    with forced_kernels():
        mask = op.assign([x.float() for x in half], weights, BETA)
        assert op.assign([x[:0] for x in masks], weights, BETA).shape == (0, 5, 6)
        empty = [x[:0].clone().requires_grad_() for x in masks]
        op.assign(empty, weights.requires_grad_(), BETA).sum().backward()
    assert not weights.grad.any()
    torch.testing.assert_close(mask, op.reference(masks, weights, beta, None), atol=1e-3, rtol=0)


def test_gradients_in_double_precision():
    masks, weights, magnitude = scene(3, 2, 3, 4, device="cpu")
    masks = [mask.double().clamp(0.05, 0.95) for mask in masks]
    beta = torch.tensor(BETA, dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (weights.double(), beta, *masks)]
    assert (magnitude == 0).any()
    for gate in (None, magnitude):
        torch.autograd.gradcheck(
            lambda weights, beta, *masks, gate=gate: op.assign(masks, weights, beta, gate), inputs
        )


def test_a_distance_of_0_has_a_gradient_of_0():
    masks = [torch.tensor([[0.0, 1.0]], requires_grad=True) for _ in range(2)]
    weights = torch.ones(2, requires_grad=True)
    mask = op.assign(masks, weights, BETA)
    mask.sum().backward()
    d = 2**0.5
    slope = (mask * (1 - mask)).detach() * BETA / d
    torch.testing.assert_close(masks[0].grad, slope)  # the other centre's distance alone
    torch.testing.assert_close(weights.grad, torch.full((2,), (slope[0, 1] - slope[0, 0]).item() / 2))


def test_registration():
    masks, weights, magnitude = scene(2, 1, 3, 5, device="cpu")
    masks = [mask.clone().requires_grad_() for mask in masks]
    weights, beta = weights.requires_grad_(), torch.tensor(BETA, requires_grad=True)
    given = [mask.detach() for mask in masks], weights.detach(), beta.detach()
    for gate, of_masks in ((None, False), (magnitude, True)):
        torch.library.opcheck(op._assign, (masks, weights, beta, gate))
        torch.library.opcheck(op._backward, (masks[0].detach(), *given, gate, of_masks))


def test_compiles_whole():
    masks, weights, magnitude = scene(2, 1, 3, 5, device="cpu")
    compiled = torch.compile(op.assign, fullgraph=True, backend="aot_eager")
    results = []
    for run in (compiled, op.assign):
        beta = torch.tensor(BETA, requires_grad=True)
        mask = run(masks, weights, beta, magnitude)
        mask.sum().backward()
        results.append((mask.detach(), beta.grad))
    torch.testing.assert_close(*results)


def test_bad_arguments():
    masks, weights, magnitude = scene(2, 1, 3, 5, device="cpu")
    with pytest.raises(ValueError, match=r"beta must be one number, got a tensor of shape \(2,\)"):
        op.assign(masks, weights, torch.ones(2))
    with pytest.raises(ValueError, match=r"magnitude must have shape \(1, 3, 5\), got \(1, 3, 4\)"):
        op.assign(masks, weights, BETA, magnitude[..., 1:])
