"""Peaks of the 2-D transform, against the definition on the whole plane."""

import numpy as np
import pytest
import torch

from torchprim.kernels.local_peaks import local_peaks


def peaks_by_definition(magnitude, neighbourhood):
    """P over the whole plane, in NumPy: (F, N) magnitude spectrogram -> (F, N)."""
    m = np.abs(np.fft.fft2(magnitude))
    m /= m.max()
    scales, rates = (size // 2 for size in neighbourhood)
    around = np.stack(
        [np.roll(m, (i, j), (0, 1)) for i in range(-scales, scales + 1) for j in range(-rates, rates + 1)]
    )
    highest = around.max(0)
    peaks = np.where(m >= highest * (1 - 1e-12), (highest - around.mean(0)) / (around.std(0) + 1e-7), 0)
    peaks /= peaks.max()
    return np.maximum(peaks, np.roll(peaks[::-1, ::-1], (1, 1), (0, 1)))


@pytest.mark.parametrize(
    ("bins", "frames", "neighbourhood"),
    [(33, 40, (1, 25)), (32, 41, (1, 5)), (32, 40, (3, 5)), (17, 31, (5, 3)), (7, 7, (7, 7)), (2, 5, (1, 3))],
)
def test_equals_the_definition(bins, frames, neighbourhood):
    magnitude = np.random.default_rng(bins).random((bins, frames))
    level = torch.fft.rfft2(torch.tensor(magnitude), dim=(-1, -2)).abs()
    got = local_peaks(level / level.max(), bins, neighbourhood)
    wanted = peaks_by_definition(magnitude, neighbourhood)[: bins // 2 + 1]
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-12)


def test_float32_variance_is_accurate():
    """A neighbourhood far from zero with little spread: what a float32 running total would lose."""
    m = 0.5 + 1e-3 * torch.rand(4, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    m[2, 7] = 1.0
    single, double = local_peaks(m.float(), 7, (1, 25)), local_peaks(m, 7, (1, 25))
    assert torch.allclose(single.double(), double, atol=2e-3)


def test_flat_plane_and_gradient_are_finite():
    m = torch.zeros(3, 10, requires_grad=True)
    peaks = local_peaks(m, 5, (1, 5))
    peaks.sum().backward()
    assert torch.equal(peaks, torch.zeros(3, 10))
    assert torch.isfinite(m.grad).all()


def test_gradcheck():
    m = torch.rand(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(4), requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: local_peaks(t, 5, (1, 5)), m)


@pytest.mark.parametrize("neighbourhood", [(1, 4), (2, 3), (0, 5), (1, 2000), (1, 2.5)])
def test_bad_neighbourhood(neighbourhood):
    with pytest.raises(ValueError, match="neighbourhood must be"):
        local_peaks(torch.rand(3, 10), 5, neighbourhood)
