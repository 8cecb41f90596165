"""The magnitude of a spectrum: kernel against reference, and its gradient."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.spectra import magnitude as op

SHAPES = [(1, 1, 1), (2, 1, 7), (3, 5, 1), (65, 66), (2, 2, 64, 130), (0, 3, 4)]


def spectrum(*shape, seed=0, by_frames=True):
    """Draw a spectrum with zeros, denormal and huge numbers, bins innermost as from a transform."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape[:-2], shape[-1], shape[-2], dtype=torch.cfloat, generator=generator)
    scale = torch.tensor([1.0, 0.0, 1e-30, 1e30])
    x = x * scale[torch.randint(4, x.shape, generator=generator)]
    x = x.mT if by_frames else x.mT.contiguous()
    return x.to(DEVICE)


@runs_kernels
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", ["bins", "frames", "neither"])
def test_kernel_equals_reference(shape, layout, monkeypatch, poisoned):
    x = spectrum(*shape, by_frames=layout == "bins")
    if layout == "neither":
        x = torch.view_as_complex(torch.randn(*shape[:-1], 3 * shape[-1], 2, device=DEVICE))[..., 1::3]
    expected = x.abs()
    forbid(monkeypatch, op, "reference")
    with forced_kernels():
        result = op.magnitude(x)
        again, maxima = op.magnitude_and_maxima(x)
    assert result.is_contiguous()
    torch.testing.assert_close(result, expected, atol=0, rtol=1e-6)
    assert torch.equal(result == 0, x == 0)
    assert torch.equal(again, result)
    assert torch.equal(maxima, maxima_of(result))


def maxima_of(magnitude):
    """Take the maximum of each 8 frames, one after the other."""
    parts = magnitude.split(8, -1)
    return torch.stack([part.amax(-1) for part in parts], -1) if magnitude.numel() else magnitude[..., :1]


@pytest.mark.parametrize("shape", SHAPES)
def test_maxima_are_of_eight_frames(shape):
    x = spectrum(*shape).cpu().requires_grad_()
    magnitude, maxima = op.magnitude_and_maxima(x)
    assert torch.equal(maxima, maxima_of(magnitude.detach()))
    assert magnitude.requires_grad and not maxima.requires_grad


@pytest.mark.parametrize("by_frames", [False, True])
def test_gradient_is_that_of_abs(by_frames):
    x = spectrum(2, 5, 6, by_frames=by_frames).cpu()
    leaves = [x.clone().requires_grad_() for _ in range(2)]
    weight = awkward(2, 5, 6, device="cpu")
    for leaf, function in zip(leaves, (op.magnitude, torch.abs), strict=True):
        (function(leaf) * weight).sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)


def test_gradients_in_double_precision():
    x = torch.randn(2, 3, 4, dtype=torch.cdouble, requires_grad=True)
    torch.autograd.gradcheck(op.magnitude, (x,))
    torch.autograd.gradgradcheck(op.magnitude, (x,))


def test_registration():
    x = torch.view_as_real(spectrum(2, 5, 6).cpu())
    for maxima in (False, True):
        torch.library.opcheck(op._magnitude, (x.detach().requires_grad_(), maxima))


def test_a_conjugate_view():
    x = spectrum(3, 4).cpu()
    assert torch.equal(op.magnitude(x.conj()), x.abs())


@pytest.mark.parametrize("bad", [torch.zeros(3, 4), torch.zeros(3, dtype=torch.cfloat), None])
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match="spectrum must be a complex tensor"):
        op.magnitude(bad)
