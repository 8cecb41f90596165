"""The inverse transform of a masked spectrum: kernel against reference, and gradients."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.spectra import residual_frames as op

# B, N, W; M = W / 2 is odd, even, a multiple of the tile and none, 1
CASES = [(1, 1, 2), (2, 3, 4), (1, 5, 6), (3, 33, 10), (2, 2, 256), (1, 3, 300), (2, 40, 130)]


def inputs(items, frames, length, by_frames=True):
    """Draw a mask, and a spectrum whose first and last bins are not real: a real transform ignores that."""
    bins = length // 2 + 1
    spectrum = torch.randn(items, frames, bins, dtype=torch.cfloat, device=DEVICE).mT
    mask = awkward(items, bins, frames, seed=2)
    return mask, spectrum if by_frames else spectrum.contiguous()


@runs_kernels
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("by_frames", [False, True])
def test_kernel_equals_reference(case, by_frames, monkeypatch, poisoned):
    mask, spectrum = inputs(*case, by_frames)
    expected = op.reference(mask, torch.view_as_real(spectrum), case[-1])
    forbid(monkeypatch, op, "reference")
    with forced_kernels():
        result = op.residual_frames(mask, spectrum, case[-1])
    assert result.is_contiguous()
    torch.testing.assert_close(result, expected, atol=1e-6 * case[-1], rtol=1e-5)


@runs_kernels
def test_an_empty_batch():
    mask, spectrum = inputs(0, 3, 8)
    with forced_kernels():
        assert op.residual_frames(mask, spectrum, 8).shape == (0, 3, 8)


@runs_kernels
def test_an_odd_length_takes_the_reference():
    mask, spectrum = inputs(2, 3, 9)
    with forced_kernels():
        result = op.residual_frames(mask, spectrum, 9)
    torch.testing.assert_close(result, op.reference(mask, torch.view_as_real(spectrum), 9))


@pytest.mark.parametrize("length", [2, 6, 7])
def test_gradients_in_double_precision(length):
    mask, spectrum = (x.cpu().to(torch.promote_types(x.dtype, torch.float64)) for x in inputs(2, 3, length))
    leaves = (mask.requires_grad_(), spectrum.detach().requires_grad_())
    torch.autograd.gradcheck(lambda m, x: op.residual_frames(m, x, length), leaves)


def test_registration():
    mask, spectrum = (x.cpu() for x in inputs(2, 3, 8))
    pairs = torch.view_as_real(spectrum).requires_grad_()
    torch.library.opcheck(op._frames, (mask.clone().requires_grad_(), pairs, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(1, 3, 4), torch.zeros(1, 3, 4), 4), "spectrum must be complex"),
        ((torch.zeros(1, 3, 5), torch.zeros(1, 3, 4) + 0j, 4), "mask of its shape"),
        ((torch.zeros(1, 3, 4), torch.zeros(1, 3, 4) + 0j, 6), "length must have 3 bins, got 6"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        op.residual_frames(*arguments)
