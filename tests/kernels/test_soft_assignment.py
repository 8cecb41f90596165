"""Equation 1 and the spectrum behind its mask: kernel against reference, gradients, orders in memory."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.clustering import soft_assignment as op
from torchprim.kernels.dispatch import forced_kernels

BETA = 2.5


def scene(count, *shape, device=DEVICE):
    """Draw masks with exact zeros and ones, weights with a zero, a spectrum with silence."""
    masks = [awkward(*shape, seed=i, low=-0.2, high=1.2, device=device).clamp(0, 1) for i in range(count)]
    weights = torch.arange(count, dtype=torch.float32, device=device) if count > 1 else torch.ones(1)
    real, imaginary = (awkward(*shape, seed=9 + i, low=-1.0, device=device) for i in range(2))
    spectrum = torch.complex(real, imaginary) * (awkward(*shape, seed=8, device=device) > 0.2)
    return masks, weights.to(device), spectrum


def by_frames(x):
    return x.mT.contiguous().mT


ORDERS = {
    "strided": (lambda x: x, lambda x: x),
    "bins": (lambda x: x.contiguous(), lambda x: x.contiguous()),
    "frames": (by_frames, by_frames),
    "masks by bins, spectrum by frames": (lambda x: x.contiguous(), by_frames),
    "masks by frames, spectrum by bins": (by_frames, lambda x: x.contiguous()),
}


@runs_kernels
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count, shape", [(1, (1, 1, 1)), (3, (2, 37, 41)), (8, (1, 3, 347))])
def test_kernel_equals_reference(order, count, shape, monkeypatch, poisoned):
    masks, weights, spectrum = scene(count, *shape)
    masks, spectrum = [ORDERS[order][0](mask) for mask in masks], ORDERS[order][1](spectrum)
    beta = torch.tensor(BETA, device=DEVICE)
    to_mask = awkward(*shape, seed=20, low=-1.0)
    to_vocals = torch.complex(awkward(*shape, seed=21, low=-1.0), awkward(*shape, seed=22))
    parts, to_parts = torch.view_as_real(spectrum), torch.view_as_real(to_vocals)
    expected = op.reference_applied(masks, weights, beta, parts)
    gradients = op.reference_gradients(to_mask, to_parts, masks, weights, beta, parts, True, True)
    forbid(monkeypatch, op, "reference", "reference_applied", "reference_gradients")
    leaves = [x.detach().requires_grad_() for x in (weights, beta, *masks, spectrum)]
    with forced_kernels():
        mask, vocals = op.assign_and_apply(leaves[2:-1], *leaves[:2], leaves[-1])
        torch.autograd.backward((mask, vocals), (to_mask, to_vocals))
    torch.testing.assert_close(mask, expected[0])
    torch.testing.assert_close(vocals, torch.view_as_complex(expected[1]))
    assert mask.is_contiguous() and vocals.stride() == torch.view_as_complex(expected[1]).stride()
    gradients[-1] = torch.view_as_complex(gradients[-1].contiguous())
    for leaf, wanted in zip(leaves, gradients, strict=True):
        torch.testing.assert_close(leaf.grad, wanted, atol=1e-4, rtol=1e-4)


@runs_kernels
@pytest.mark.parametrize("lies", ["bins", "frames"])
def test_views_of_an_embedding(lies, monkeypatch, poisoned):
    embedding = awkward(2, 5, 7 * 3, seed=3).reshape(2, 5, 7, 3).contiguous().requires_grad_()
    masks = list((embedding if lies == "bins" else embedding.transpose(1, 2)).unbind(-1))
    assert not masks[0].is_contiguous() and not masks[0].mT.is_contiguous()
    weights = torch.rand(3, device=DEVICE)
    expected = op.reference(masks, weights, torch.tensor(BETA, device=DEVICE))
    (wanted,) = torch.autograd.grad(expected.square().sum(), embedding)
    forbid(monkeypatch, op, "reference", "reference_applied", "reference_gradients")
    with forced_kernels():
        mask = op.assign(masks, weights, BETA)
        mask.square().sum().backward()
    torch.testing.assert_close(mask, expected)
    torch.testing.assert_close(embedding.grad, wanted)


@runs_kernels
@pytest.mark.parametrize("wanted", ["weights", "masks", "spectrum"])
@pytest.mark.parametrize("used", ["mask", "vocals"])
def test_only_the_gradients_asked_for(wanted, used, monkeypatch, poisoned):
    masks, weights, spectrum = scene(2, 1, 9, 11)
    leaves = {"weights": [weights], "masks": masks, "spectrum": [spectrum]}[wanted]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    if (wanted, used) == ("spectrum", "mask"):
        masks[0].requires_grad_()
        leaves = [masks[0]]

    def gradients():
        mask, vocals = op.assign_and_apply(masks, weights, BETA, spectrum)
        return torch.autograd.grad((mask if used == "mask" else vocals.abs()).square().sum(), leaves)

    expected = gradients()
    forbid(monkeypatch, op, "reference_gradients")
    with forced_kernels():
        got = gradients()
    torch.testing.assert_close(got, expected)


@runs_kernels
def test_half_precision_and_no_items(poisoned):
    masks, weights, _ = scene(2, 1, 5, 6)
    half = [mask.half() for mask in masks]
    with forced_kernels():
        mask = op.assign([x.float() for x in half], weights, BETA)
        assert op.assign([x[:0] for x in masks], weights, BETA).shape == (0, 5, 6)
        empty = [x[:0].clone().requires_grad_() for x in masks]
        op.assign(empty, weights.requires_grad_(), BETA).sum().backward()
    assert not weights.grad.any()
    torch.testing.assert_close(mask, op.reference(masks, weights, BETA), atol=1e-3, rtol=0)


def test_gradients_in_double_precision():
    masks, weights, spectrum = scene(3, 2, 3, 4, device="cpu")
    masks = [mask.double().clamp(0.05, 0.95) for mask in masks]
    beta = torch.tensor(BETA, dtype=torch.float64)
    spectrum = torch.where(spectrum == 0, 1, spectrum).to(torch.complex128)  # at silence the mask jumps
    inputs = [x.requires_grad_() for x in (weights.double(), beta, spectrum, *masks)]

    def both(weights, beta, spectrum, *masks):
        return op.assign_and_apply(masks, weights, beta, spectrum)

    torch.autograd.gradcheck(both, inputs)


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
    masks, weights, spectrum = scene(2, 1, 3, 5, device="cpu")
    masks = [mask.clone().requires_grad_() for mask in masks]
    weights, beta = weights.requires_grad_(), torch.tensor(BETA, requires_grad=True)
    parts = torch.view_as_real(by_frames(spectrum)).requires_grad_()
    torch.library.opcheck(op._assign, (masks, weights, beta))
    torch.library.opcheck(op._apply, (masks, weights, beta, parts))
    given = [mask.detach() for mask in masks], weights.detach(), beta.detach(), parts.detach()
    torch.library.opcheck(op._backward, (masks[0].detach(), parts.detach(), *given, True, True))
    torch.library.opcheck(op._backward, (None, parts.detach(), *given, False, False))


def test_compiles_whole():
    masks, weights, spectrum = scene(2, 1, 3, 5, device="cpu")
    compiled = torch.compile(op.assign_and_apply, fullgraph=True, backend="aot_eager")
    results = []
    for run in (compiled, op.assign_and_apply):
        beta = torch.tensor(BETA, requires_grad=True)
        mask, vocals = run(masks, weights, beta, spectrum)
        (mask.sum() + vocals.abs().sum()).backward()
        results.append((mask.detach(), vocals.detach(), beta.grad))
    torch.testing.assert_close(*results)


def test_bad_arguments():
    masks, weights, spectrum = scene(2, 1, 3, 5, device="cpu")
    with pytest.raises(ValueError, match=r"beta must be one number, got a tensor of shape \(2,\)"):
        op.assign(masks, weights, torch.ones(2))
    with pytest.raises(ValueError, match=r"spectrum must be complex and have shape \(1, 3, 5\)"):
        op.assign_and_apply(masks, weights, BETA, spectrum[..., 1:])
