"""The inverse transform of a masked spectrum: kernel against reference, and gradients."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.spectra import masked_frames as op

# B, C, N, W; M = W / 2 is odd, even, a multiple of the tile and none, 1
CASES = [
    (1, 1, 1, 2),
    (2, 1, 3, 4),
    (1, 2, 5, 6),
    (3, 1, 33, 10),
    (2, 3, 2, 256),
    (1, 1, 3, 300),
    (2, 2, 40, 130),
]


def inputs(items, channels, frames, length, by_frames=True):
    """Draw a mask, and a spectrum whose first and last bins are not real: a real transform ignores that."""
    bins = length // 2 + 1
    spectrum = torch.randn(items, channels, frames, bins, dtype=torch.cfloat, device=DEVICE).mT
    mask = awkward(items, bins, frames, seed=2)
    return mask, spectrum if by_frames else spectrum.contiguous()


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("length", [8, 9])
def test_reference_is_the_definition(length, residual):
    mask, spectrum = inputs(2, 3, 5, length)
    result = op.masked_frames(mask, spectrum, length, residual)
    gain = (1 - mask if residual else mask).unsqueeze(1)
    wanted = length * torch.fft.irfft(gain * spectrum, n=length, dim=-2)
    torch.testing.assert_close(result, wanted.mT, atol=1e-5, rtol=1e-5)


@runs_kernels
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("by_frames", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_kernel_equals_reference(case, by_frames, residual, monkeypatch, poisoned):
    mask, spectrum = inputs(*case, by_frames)
    expected = op.reference(mask, torch.view_as_real(spectrum), case[-1], residual)
    forbid(monkeypatch, op, "reference")
    with forced_kernels():
        result = op.masked_frames(mask, spectrum, case[-1], residual)
    assert result.is_contiguous()
    torch.testing.assert_close(result, expected, atol=1e-6 * case[-1], rtol=1e-5)


@runs_kernels
@pytest.mark.parametrize("items, channels", [(0, 1), (2, 0)])
def test_an_empty_batch(items, channels):
    mask, spectrum = inputs(items, channels, 3, 8)
    with forced_kernels():
        assert op.masked_frames(mask, spectrum, 8).shape == (items, channels, 3, 8)


@runs_kernels
def test_an_odd_length_takes_the_reference():
    mask, spectrum = inputs(2, 1, 3, 9)
    with forced_kernels():
        result = op.masked_frames(mask, spectrum, 9)
    torch.testing.assert_close(result, op.reference(mask, torch.view_as_real(spectrum), 9, False))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("length", [2, 6, 7])
def test_gradients_in_double_precision(length, residual):
    drawn = inputs(2, 2, 3, length)
    mask, spectrum = (x.cpu().to(torch.promote_types(x.dtype, torch.float64)) for x in drawn)
    leaves = (mask.requires_grad_(), spectrum.detach().requires_grad_())

    def frames(m, x):
        return op.masked_frames(m, x, length, residual)

    torch.autograd.gradcheck(frames, leaves)
    torch.autograd.gradgradcheck(frames, leaves)


def test_registration():
    mask, spectrum = (x.cpu() for x in inputs(2, 2, 3, 8))
    pairs = torch.view_as_real(spectrum).requires_grad_()
    torch.library.opcheck(op._frames, (mask.clone().requires_grad_(), pairs, 8, True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(1, 3, 4), torch.zeros(1, 1, 3, 4), 4), "spectrum must be complex"),
        ((torch.zeros(1, 3, 4), torch.zeros(1, 3, 4) + 0j, 4), "spectrum must be complex"),
        ((torch.zeros(1, 3, 5), torch.zeros(1, 1, 3, 4) + 0j, 4), r"mask \(B, F, N\)"),
        ((torch.zeros(1, 3, 4), torch.zeros(1, 1, 3, 4) + 0j, 6), "length must have 3 bins, got 6"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        op.masked_frames(*arguments)
