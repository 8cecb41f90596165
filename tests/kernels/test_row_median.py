"""Medians of whole rows: values bit for bit, gradients to the first of equal samples."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.salience import row_median as op

SIZES = [(1, 1), (3, 2), (2, 5, 97), (4, 257), (3, 2584)]


def rows(shape, values, device=DEVICE):
    x = awkward(*shape, seed=4, low=-1.0, device=device)
    if values == "ties":
        x = (x * 2).round().clamp(min=0)
    if values == "wide":  # of all orders of magnitude: their bits fill the range of integers
        x = x.sign() * 10 ** (x.abs() * 76 - 38)
    if values == "equal":
        x = torch.full_like(x, -0.5)
    if values == "infinite":
        x = torch.where(x > 0.2, float("inf"), torch.where(x < -0.8, -float("inf"), x))
    return x


@runs_kernels
@pytest.mark.parametrize("values", ["spread", "ties", "wide", "infinite", "equal"])
@pytest.mark.parametrize("shape", SIZES)
def test_kernel_equals_reference(shape, values, monkeypatch, poisoned):
    x = rows(shape, values)
    gradient = torch.arange(1.0, 1 + x[..., 0].numel(), device=DEVICE).reshape(x.shape[:-1])
    expected = x.sort(-1).values[..., (shape[-1] - 1) // 2]
    expected_gradient = op.reference_gradient(gradient, x, expected)
    forbid(monkeypatch, op, "reference", "reference_gradient")
    leaf = x.detach().requires_grad_()
    with forced_kernels():
        median = op.row_median(leaf)
        median.backward(gradient)
    assert torch.equal(median, expected)
    assert torch.equal(leaf.grad, expected_gradient)


@runs_kernels
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_kernel_in_half_precision(dtype):
    x = rows((3, 50), "spread").to(dtype).requires_grad_()
    with forced_kernels():
        median = op.row_median(x)
        median.sum().backward()
    assert torch.equal(median, x.sort(-1).values[:, 24])
    assert torch.equal(x.grad, op.reference_gradient(torch.ones_like(median), x, median))


@runs_kernels
def test_kernel_with_nan_empty_and_long_rows(monkeypatch):
    x = torch.rand(3, 9, device=DEVICE)
    x[1, 4] = float("nan")
    with forced_kernels():
        assert op.row_median(x).isnan().tolist() == [False, True, False]
        assert op.row_median(x[:0]).shape == (0,)
        long = torch.rand(2, 40000, device=DEVICE)
        assert torch.equal(op.row_median(long), long.sort(-1).values[:, 19999])


@pytest.mark.parametrize("values", ["spread", "ties"])
def test_gradient_goes_to_the_first_of_equal_samples(values):
    x = rows((3, 7), values, "cpu").clone().requires_grad_()
    op.row_median(x).sum().backward()
    for row, slope, median in zip(x.tolist(), x.grad.tolist(), op.row_median(x).tolist(), strict=True):
        assert slope == [float(i == row.index(median)) for i in range(7)]


def test_gradients_in_double_precision_and_registration():
    x = rows((2, 6), "spread", "cpu").double().requires_grad_()
    torch.autograd.gradcheck(op.row_median, (x,))
    torch.library.opcheck(op._median, (x,))
    x = x.detach()
    torch.library.opcheck(op._median_backward, (x[:, 0].clone(), x, op.row_median(x)))


def test_compiles_and_checks():
    x = rows((2, 6), "spread", "cpu")
    compiled = torch.compile(op.row_median, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), op.row_median(x))
    with pytest.raises(ValueError, match="x must be a real tensor"):
        op.row_median(torch.empty(3, 0))
