"""2-D transforms of real planes: kernels against torch, their round trip, and gradients."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.ft2d import real_fft2 as op

# items, F, N: N / 2 is 1, odd, even, a multiple of the tile and none; one scale, an odd and an even number
SIZES = [(1, 1, 2), (2, 1, 4), (3, 2, 6), (1, 5, 8), (2, 17, 14), (1, 3, 256), (2, 16, 130), (1, 33, 20)]


@runs_kernels
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("contiguous", [False, True])
def test_kernels_equal_references(size, contiguous, monkeypatch, poisoned):
    x = awkward(*size)
    x = torch.cat([x, x], -2)[..., : size[1], :] if contiguous else x  # rows of a larger plane, not copied
    wanted = torch.fft.rfft2(x)
    kept = wanted * torch.rand(1, 1, wanted.shape[-1], device=DEVICE)
    back = torch.fft.irfft2(kept, s=size[1:], norm="forward")
    forbid(monkeypatch, op, "reference", "reference_inverse")
    with forced_kernels():
        got = op.real_fft2(x)
        got_back = op.real_ifft2(kept.mT.contiguous().mT, size[-1])
    assert got.is_contiguous() and got_back.is_contiguous()
    scale = size[1] * size[2]
    torch.testing.assert_close(got, wanted, atol=2e-7 * scale, rtol=1e-5)
    torch.testing.assert_close(got_back, back, atol=2e-7 * scale * wanted.abs().mean().item(), rtol=1e-5)


@runs_kernels
def test_the_transform_is_symmetric_in_all_bits():
    """Peaks of equal height, reflections of one another, stay equal."""
    with forced_kernels():
        spectrum = op.real_fft2(awkward(6, 20))
    for rate in (0, 10):
        column = spectrum[:, rate]
        assert torch.equal(column, column.flip(0).roll(1).conj().resolve_conj())


@runs_kernels
@pytest.mark.parametrize("frames", [9, 1])
def test_an_odd_length_takes_the_references(frames):
    x = awkward(2, 5, frames)
    with forced_kernels():
        spectrum = op.real_fft2(x)
        back = op.real_ifft2(spectrum, frames)
    torch.testing.assert_close(spectrum, torch.fft.rfft2(x))
    torch.testing.assert_close(back / (5 * frames), x, atol=1e-5, rtol=1e-5)


@runs_kernels
def test_an_empty_batch_and_leading_dimensions():
    x = awkward(2, 3, 5, 8)
    with forced_kernels():
        spectrum = op.real_fft2(x)
        assert op.real_fft2(x[:0]).shape == (0, 3, 5, 5)
        assert op.real_ifft2(spectrum[:0], 8).shape == (0, 3, 5, 8)
        back = op.real_ifft2(spectrum, 8)
    torch.testing.assert_close(back / 40, x, atol=1e-6, rtol=1e-5)


@runs_kernels
@pytest.mark.parametrize("frames", [8, 9])
def test_gradients_equal_those_of_torch(frames):
    x = awkward(2, 5, frames)
    weight, half = torch.rand(2, 5, frames, device=DEVICE), torch.rand(frames // 2 + 1, device=DEVICE)
    gradients = []
    for kernels in (False, True):
        leaf = x.detach().clone().requires_grad_()
        if kernels:
            with forced_kernels():
                (op.real_ifft2(op.real_fft2(leaf) * half, frames) * weight).sum().backward()
        else:
            spectrum = torch.fft.rfft2(leaf) * half
            (torch.fft.irfft2(spectrum, s=(5, frames), norm="forward") * weight).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frames", [2, 6, 7])
def test_gradients_in_double_precision_and_registration(frames):
    x = torch.rand(
        3, frames, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    ).requires_grad_()
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(op.real_fft2, x)
        assert check(lambda t: op.real_ifft2(op.real_fft2(t) * 0.3, frames), x)
    torch.library.opcheck(op._forward, (x,))
    torch.library.opcheck(op._inverse, (torch.view_as_real(torch.fft.rfft2(x.detach())), frames))


def test_bad_arguments():
    with pytest.raises(ValueError, match="x must be a real tensor"):
        op.real_fft2(torch.rand(3, 4) + 0j)
    with pytest.raises(ValueError, match="spectrum must be a complex tensor"):
        op.real_ifft2(torch.rand(3, 4), 6)
    with pytest.raises(ValueError, match=r"spectrum must have 8 // 2 \+ 1 rates, got \(3, 4\)"):
        op.real_ifft2(torch.rand(3, 4) + 0j, 8)
