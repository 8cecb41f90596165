"""LSTM layers with dropout: equal to nn.LSTM, resumable, of the autocast type on a GPU."""

import warnings

import pytest
import torch
from torch import nn

from torchprim.networks.recurrent import DropoutLstm, in_one_block


def layers(dropout=0.0, inputs=9, hidden=8):
    torch.manual_seed(0)
    return DropoutLstm(inputs, hidden, 3, dropout)


def stacked(inputs=9, hidden=8):
    torch.manual_seed(0)
    return nn.LSTM(inputs, hidden, 3, batch_first=True, bidirectional=True)


@pytest.fixture
def x(generator):
    return torch.randn(4, 7, 9, generator=generator)


def test_parameters_are_those_of_a_stacked_lstm():
    """Initial values, names of a checkpoint, and the order that an optimiser's state has."""
    ours, expected = layers(), stacked()
    assert list(ours.state_dict()) == list(expected.state_dict())
    for (name, parameter), (other_name, other) in zip(
        ours.named_parameters(), expected.named_parameters(), strict=True
    ):
        assert name == other_name and torch.equal(parameter, other)


def test_equals_a_stacked_lstm(x):
    ours, expected = layers(), stacked()
    a, b = (x.clone().requires_grad_() for _ in range(2))
    ours(a).square().sum().backward()
    expected(b)[0].square().sum().backward()
    torch.testing.assert_close(a.grad, b.grad)
    for parameter, other in zip(ours.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad)


def test_dropout_after_each_layer_is_seeded(x):
    ours = layers(0.5).train()

    def run():
        torch.manual_seed(3)
        return ours(x)

    first = run()
    assert torch.equal(run(), first)
    assert 0.3 < (first == 0).float().mean() < 0.7
    assert not torch.equal(first[first != 0], 2 * ours.eval()(x)[first != 0])  # of the earlier layers, too


def test_one_block_holds_matrices_before_biases(x):
    ours = layers()
    forwards, backwards = ours.all_weights[:2]
    weights = in_one_block([*forwards, *backwards], torch.float64)
    for view, weight in zip(weights, [*forwards, *backwards], strict=True):
        assert torch.equal(view, weight.double()) and view.is_contiguous()
    offsets = [weights[i].storage_offset() for i in (0, 1, 4, 5, 2, 3, 6, 7)]
    sizes = [weights[i].numel() for i in (0, 1, 4, 5, 2, 3, 6, 7)]
    assert offsets == [sum(sizes[:i]) for i in range(8)]
    assert weights[0].untyped_storage().nbytes() == 8 * sum(sizes)
    (2 * sum(view.sum() for view in weights)).backward()
    assert all((weight.grad == 2).all() for weight in (*forwards, *backwards))


@pytest.mark.gpu
def test_small_gradients_survive_autocast():
    """Gradients of 1e-9, as those of the clustering loss, are 0 in float16."""
    x = torch.randn(8, 50, 1025, device="cuda")

    def gradients(dropout, autocast):
        ours = layers(dropout, 1025, 600).cuda()
        torch.manual_seed(0)
        with torch.autocast("cuda", torch.bfloat16, enabled=autocast), warnings.catch_warnings():
            warnings.simplefilter("error")  # weights that cuDNN would copy at every call
            y = ours(x)
        assert y.dtype == (torch.bfloat16 if autocast else torch.float32)
        (1e-9 * y.float().square().sum()).backward()
        return [parameter.grad for parameter in ours.parameters()]

    for low, high in zip(gradients(0.0, True), gradients(0.0, False), strict=True):
        assert high.any() and (low - high).norm() < 0.1 * high.norm()
    assert all(map(torch.equal, gradients(0.3, True), gradients(0.3, True)))
