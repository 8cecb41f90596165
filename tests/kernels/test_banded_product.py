"""A banded matrix times many columns: tensor-core kernel, plain product, adjoint."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.salience import banded_product as op

SIZES = [(1, 1, 1, 1), (2, 130, 75, 33), (1, 60, 150, 132)]  # items, rows, depth, frames


def matrix(rows, depth, dtype=torch.float32):
    """Draw a matrix that is zero below the diagonal and in one whole block."""
    made = torch.rand(rows, depth, dtype=dtype, generator=torch.Generator().manual_seed(0)) - 0.3
    made = made.triu()
    made[128:] = 0
    return made


@runs_kernels
@pytest.mark.parametrize("items, rows, depth, frames", SIZES)
def test_kernel_equals_the_matrix_product(items, rows, depth, frames, monkeypatch, poisoned):
    m = matrix(rows, depth)
    table = op.banded(m, DEVICE)
    x = awkward(items, depth, frames, seed=1)
    gradient = awkward(items, rows, frames, seed=2, low=-1.0)
    expected, expected_gradient = (
        m.double().to(DEVICE) @ x.double(),
        m.t().double().to(DEVICE) @ gradient.double(),
    )
    forbid(monkeypatch, op, "reference")
    leaf = x.detach().requires_grad_()
    with forced_kernels():
        out = op.banded_product(table, leaf)
        out.backward(gradient)
    torch.testing.assert_close(out.double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(leaf.grad.double(), expected_gradient, atol=1e-5, rtol=1e-5)


@runs_kernels
def test_kernel_reads_a_slice_where_it_lies():
    table = op.banded(matrix(20, 30), DEVICE)
    x = torch.rand(2, 3, 40, 12, device=DEVICE)[..., 5:35, :]
    with forced_kernels():
        torch.testing.assert_close(op.banded_product(table, x), matrix(20, 30).to(DEVICE) @ x)
        assert op.banded_product(table, x[:0]).shape == (0, 3, 20, 12)


def test_parts_are_exact_and_bands_hold_all_that_is_not_zero():
    m = matrix(300, 170)
    table = op.banded(m, "cpu")
    assert torch.equal(table.parts.sum(0)[:300, :170], m)
    assert torch.equal(table.parts_t.sum(0)[:170, :300], m.t())
    assert not (table.parts[0].view(torch.int32) & 8191).any()  # what tensor cores read of a float
    assert table.parts[1].abs().max() <= 2**-10
    assert table.ranges.tolist() == [[0, 11], [4, 11], [0, 0], [0, 0], [0, 0]]
    assert table.ranges_t.tolist() == [[0, 4], [0, 8], [0, 8]]


def test_gradients_in_double_precision_and_registration():
    m = matrix(4, 5, torch.float64)
    table = op.banded(m, "cpu")
    x = awkward(2, 5, 3, device="cpu").double().requires_grad_()
    torch.testing.assert_close(op.banded_product(table, x), m @ x)
    torch.autograd.gradcheck(lambda x: op.banded_product(table, x), (x,))
    torch.library.opcheck(op._product, (x, *table[:4], table.rows))


def test_compiles_and_checks():
    table = op.banded(matrix(4, 5), "cpu")
    x = awkward(2, 5, 3, device="cpu")
    compiled = torch.compile(lambda x: op.banded_product(table, x), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), matrix(4, 5) @ x)
    with pytest.raises(ValueError, match=r"x must have shape \(..., 5, N\), got \(2, 4, 3\)"):
        op.banded_product(table, x[:, :4])
    with pytest.raises(ValueError, match=r"must be torch\.float32 like the matrix"):
        op.banded_product(table, x.double())
    with pytest.raises(ValueError, match="matrix must have shape"):
        op.banded(torch.ones(3), "cpu")
