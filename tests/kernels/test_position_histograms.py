"""Histograms of position: kernel against reference, gradients, bands."""

import itertools

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.spatial import position_histograms as op
from torchprim.kernels.spatial.side_to_mid import POINTS

# shape -> edges of the bands: a band of one bin, one with no bin, one alone
CASES = (
    ((1, 1, 1), [0, 1]),
    ((2, 37, 41), [0, 1, 20, 37]),
    ((2, 3, 5, 7), [0, 2, 2, 5]),
    ((1, 60, 700), [0, 60]),
)


def scene(*shape, device=DEVICE):
    """Draw positions with both ends of the grid, weights with zeros, a mask with zeros and ones."""
    position = awkward(*shape, seed=1, low=-3.0, high=POINTS + 2.0, device=device).clamp(0, POINTS - 1)
    weight = awkward(*shape, seed=2, low=-0.2, device=device).clamp(min=0)
    return position, weight, awkward(*shape, seed=3, low=-0.2, high=1.2, device=device).clamp(0, 1)


def dense(position, weight, mask, edges):
    """Count every bin at every point, by the definition of a hat."""
    hats = (1 - (position[..., None] - torch.arange(POINTS, device=position.device)).abs()).clamp(min=0)
    parts = torch.stack([weight * mask, weight * (1 - mask)], -3)[..., None] * hats.unsqueeze(-4)
    bands = (parts[..., first:last, :, :] for first, last in itertools.pairwise(edges))
    return torch.stack([band.sum((-3, -2)) for band in bands], -2)


@pytest.mark.parametrize(("shape", "edges"), CASES)
def test_reference_equals_the_definition(shape, edges):
    inputs = scene(*shape, device="cpu")
    result = op.position_histograms(*inputs, edges)
    torch.testing.assert_close(result, dense(*inputs, edges), atol=1e-5, rtol=1e-5)


@runs_kernels
@pytest.mark.parametrize(("shape", "edges"), CASES)
def test_kernel_equals_reference(shape, edges, monkeypatch, poisoned):
    position, weight, mask = scene(*shape)
    expected = op.reference(position, weight, mask, edges)
    alone = op.reference(position, weight, None, edges)
    gradient = awkward(*expected.shape, seed=4, low=-1.0)
    wanted = op.reference_gradient(gradient, position, weight, mask, edges)
    forbid(monkeypatch, op, "reference", "reference_gradient")
    leaf = mask.detach().requires_grad_()
    with forced_kernels():
        result = op.position_histograms(position, weight, leaf, edges)
        result.backward(gradient)
        single = op._histograms(position, weight, None, edges)
    torch.testing.assert_close(single, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(leaf.grad, wanted)


@runs_kernels
def test_no_items(poisoned):
    position, weight, mask = (x[:0] for x in scene(2, 5, 6))
    mask.requires_grad_()
    with forced_kernels():
        histograms = op.position_histograms(position, weight, mask, [0, 2, 5])
        assert histograms.shape == (0, 2, 2, POINTS)
        histograms.sum().backward()
    assert mask.grad.shape == mask.shape


def test_gradients_in_double_precision():
    position, weight, mask = (x.double() for x in scene(2, 5, 6, device="cpu"))
    function = lambda mask: op.position_histograms(position, weight, mask, [0, 2, 5])  # noqa: E731
    torch.autograd.gradcheck(function, mask.requires_grad_())


def test_registration():
    position, weight, mask = scene(2, 5, 6, device="cpu")
    edges = [0, 2, 5]
    gradient = torch.rand(2, 2, 2, POINTS)
    torch.library.opcheck(op._histograms, (position, weight, mask.clone().requires_grad_(), edges))
    torch.library.opcheck(op._histograms, (position, weight, None, edges))
    torch.library.opcheck(op._backward, (gradient, position, weight, mask, edges))
