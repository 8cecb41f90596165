"""The loudest bins and what masks say there: kernel against reference, ties, orders in memory."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.clustering import loudest as op
from torchprim.kernels.dispatch import forced_kernels

ORDERS = {
    "strided": lambda x: x,
    "bins": lambda x: x.contiguous(),
    "frames": lambda x: x.mT.contiguous().mT,
}


@runs_kernels
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "shape, count",
    [((1, 1, 1), 1), ((2, 3, 23, 41), 10), ((1, 7, 13), 91), ((1, 101, 97), 99), ((37, 19), 1)],
)
def test_kernel_finds_the_loudest(order, shape, count, monkeypatch, poisoned):
    magnitude = ORDERS[order](awkward(*shape, seed=1))
    expected = magnitude.flatten(-2).topk(count).indices.sort().values
    chunks = torch.nn.functional.pad(magnitude, (0, -shape[-1] % 8)).unflatten(-1, (-1, 8)).amax(-1)
    forbid(monkeypatch, op, "reference")
    with forced_kernels():
        got = op.loudest_bins(magnitude, count)
        same = op.loudest_bins(magnitude, count, chunks)
    assert torch.equal(got.sort().values, expected)
    assert torch.equal(same, got)


@runs_kernels
@pytest.mark.parametrize("levels", [1, 2, 30])
def test_ties_and_silence(levels, poisoned):
    """Of equal bins it does not matter which; but none comes twice, and none that is louder is missed."""
    magnitude = (levels * awkward(3, 64, 50, seed=2)).floor()
    with forced_kernels():
        got = op.loudest_bins(magnitude, 60)
    flat = magnitude.flatten(-2)
    assert torch.equal(flat.gather(-1, got).sort().values, flat.topk(60).values.sort().values)
    assert all(len(item.unique()) == 60 for item in got)


@runs_kernels
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape, count", [((1, 1), 1), ((2, 2, 11, 13), 9), ((3, 20, 31), 300)])
def test_values_and_their_gradients(order, shape, count, monkeypatch, poisoned):
    masks = [ORDERS[order](awkward(*shape, seed=i)).requires_grad_() for i in range(3)]
    index = torch.rand(*shape[:-2], shape[-2] * shape[-1]).topk(count).indices.to(DEVICE)
    gradient = awkward(*index.shape, 3, seed=8, low=-1.0)
    expected = op.reference_values(masks, index)
    wanted = torch.autograd.grad(expected, masks, gradient)
    forbid(monkeypatch, op, "reference_values", "reference_gradients")
    with forced_kernels():
        got = op.values_at(masks, index)
        gradients = torch.autograd.grad(got, masks, gradient)
    assert torch.equal(got, expected)
    for mine, theirs in zip(gradients, wanted, strict=True):
        assert torch.equal(mine, theirs)


@runs_kernels
def test_masks_of_different_orders_and_no_items(poisoned):
    masks = [order(awkward(2, 7, 9, seed=3)).requires_grad_() for order in ORDERS.values()]
    index = torch.rand(2, 63).topk(5).indices.to(DEVICE)
    expected = op.reference_values(masks, index)
    wanted = torch.autograd.grad(expected.square().sum(), masks)
    with forced_kernels():
        got = op.values_at(masks, index)
        gradients = torch.autograd.grad(got.square().sum(), masks)
        none = [mask[:0] for mask in masks]
        assert op.loudest_bins(none[0], 4).shape == (0, 4)
        assert op.values_at(none, index[:0]).shape == (0, 5, 3)
    assert torch.equal(got, expected)
    for mine, theirs in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_gradients_in_double_precision():
    masks = [torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    index = torch.tensor([[3, 0, 7], [11, 4, 5]])
    torch.autograd.gradcheck(lambda *m: op.values_at(m, index), masks)


def test_registration():
    masks = [torch.rand(2, 4, 3).mT.requires_grad_(), torch.rand(2, 3, 4, requires_grad=True)]
    index = torch.tensor([[3, 0, 7], [11, 4, 5]])
    torch.library.opcheck(op._loudest, (masks[0].detach(), 5, None))
    torch.library.opcheck(op._loudest, (masks[0].detach(), 5, torch.rand(2, 3, 1)))
    torch.library.opcheck(op._values_at, (masks, index))
    given = [mask.detach() for mask in masks]
    torch.library.opcheck(op._values_at_backward, (torch.rand(2, 3, 2), given, index))


def test_compiles_whole():
    def loud(magnitude, mask):
        return op.values_at([mask], op.loudest_bins(magnitude, 3))

    magnitude, mask = torch.rand(2, 5, 6), torch.rand(2, 5, 6)
    assert torch.equal(
        torch.compile(loud, fullgraph=True, backend="aot_eager")(magnitude, mask), loud(magnitude, mask)
    )


@pytest.mark.parametrize("count", [0, 7])
def test_bad_count(count):
    with pytest.raises(ValueError, match=rf"count must lie in \[1, 6\], got {count}"):
        op.loudest_bins(torch.rand(2, 3), count)


def test_maxima_of_another_shape():
    with pytest.raises(ValueError, match=r"maxima must have shape \(2, 2\), got \(2, 3\)"):
        op.loudest_bins(torch.rand(2, 9), 1, torch.rand(2, 3))
