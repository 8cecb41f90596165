"""Products of odd sizes, padded: the same results and gradients."""

import pytest
import torch
from torch import nn

from torchprim.networks import padding
from torchprim.networks.recurrent import DropoutLstm


@pytest.mark.parametrize("dim", [-1, -2])
def test_padded_with_zeros(dim):
    x = torch.rand(3, 5)
    wide = padding.padded(x, dim)
    assert wide.shape == ((3, 8) if dim == -1 else (8, 5))
    assert torch.equal(wide[:3, :5], x) and wide.count_nonzero() == x.count_nonzero()
    assert padding.padded(wide, dim) is wide


@pytest.mark.gpu
def test_on_a_gpu_results_are_those_of_odd_sizes(monkeypatch):
    torch.manual_seed(0)
    head, layers = nn.Linear(16, 21).cuda(), DropoutLstm(13, 8, 2, 0.0).cuda()
    x = torch.randn(3, 7, 13, device="cuda")

    def run():
        y = padding.padded_linear(head, layers(x))
        gradients = torch.autograd.grad(y.square().sum(), [*head.parameters(), *layers.parameters()])
        return y, *gradients

    padded = run()
    monkeypatch.setattr(padding, "MULTIPLE", 1)
    for got, wanted in zip(padded, run(), strict=True):
        assert got.shape == wanted.shape
        torch.testing.assert_close(got, wanted, atol=2e-3, rtol=2e-3)
